"""The report of a run: a page to mail, a Markdown file and a JSON file, all with the same numbers.

load         tables -> Report (everything below reads only this)
numbers      the object of report.json
texts        the report's own words in English and Chinese, from texts/*.yaml
cells        tables of text, shown alike in Markdown and on the page, and how a number is written
notices      what a reader must know before the numbers
statements   what can be said: who is better, by how much, how sure; the comparisons
leaderboard  the editors by their means
trust        whether a judge can be believed: controls, noise, canaries
summary      facts, scores, criteria, states, preservation, old rules
failures     the items without a score
costs        what the lanes have cost
provenance   how the numbers were made
sections     all of these in the order in which they are read
charts       one strip per editor, drawn as SVG
thumbnails   the pictures inside the page
gallery      one card per item
markdown     report.md
html         report.html from template.html, gallery.html, style.css, gallery.css, script.js and gallery.js
write        the files, each written whole or not at all
"""
