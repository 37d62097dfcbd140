"""Compare finished runs: one page, a Markdown file and a JSON file with the same numbers.

load       read what a finished run has: its tables and report.json
matching   find the items of the same content, and the judges that are the same
numbers    compute the object of comparison.json
drift      compare what a judge said twice of the same picture
changes    list what differs in how the runs were made
words      put the numbers into sentences and tables
chart      draw the differences with their intervals
write      write the three files
"""
