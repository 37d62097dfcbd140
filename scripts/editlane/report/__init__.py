"""The report of a run: one page to mail, one Markdown file and one JSON file, all with the same numbers.

load        tables -> Report (everything below reads only this)
notices     what a reader must know before the numbers
summary     Report -> tables of text, shown alike in Markdown and HTML
markdown    report.md
charts      one strip per editor and judge, drawn as SVG
thumbnails  the pictures inside the page
gallery     one card per item
html        report.html from template.html, style.css and script.js
write       the three files, each written whole or not at all
"""
