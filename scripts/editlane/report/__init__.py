"""Report a run as a self-contained page, a Markdown file and a JSON file with the same numbers.

load             read the tables into a Report; everything below reads only this
numbers          compute the object of report.json
texts            load the report's own words in English and Chinese from texts/*.yaml
cells            build tables of text and format numbers, for Markdown and the page alike
notices          warn about what affects all numbers
statements       state which editor is better, by how much and how surely; tables of comparisons
answer           answer in a few lines which editor scores highest; the first screen
arena            compare editors with each other; arena_method.py says how pairs were chosen, arena_tables.py shows both
people_votes     compute what people's votes say in the arena
leaderboard      rank the editors by their means
trust            show the controls, noise and canaries of each judge
breakdowns       compute scores by difficulty, tag and turn, win rates, seconds; breakdown_tables.py shows the first
chains           number turns, count the chains that an editor edited to their end
summary          list the facts; tables of scores, criteria, states, preservation and old rules
failures         list the items without a score
costs            tables of what the lanes cost
time_breakdown   show where the time of the devices went
provenance       show how the numbers were made
sections         order all of these
markdown         write report.md
exports/         write every table as CSV and LaTeX
write            write all files
page/charts      draw the scores as SVG, one strip per editor
page/figures     draw the other charts: *_chart.py, with axis.py
page/thumbnails  embed reduced pictures in the page
page/gallery     make the data of the gallery, one card per item
page/highlights  pick the best, the worst and the most disputed items
page/html        render report.html from the templates, styles and scripts beside it: pictures.* and gallery.* draw what
                 cards.js loads; script.js folds and unfolds; tables.js sorts and exports
"""
