"""Write every table of the report as CSV and LaTeX, and its numbers as CSV files with one fact per column.

csv_text   a table, or rows, as CSV
latex      a table as LaTeX with booktabs
paper      the table of results of each accepted judge, with caption, label and the best in bold
tidy       rows of full-precision numbers from the object of report.json
files      all of them, with their names
"""
