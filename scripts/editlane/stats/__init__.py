"""Compute statistics from scores, without files, models or state. All intervals resample source images.

- `intervals`: 95 % intervals of means and rates
- `many_means`: intervals of many means at once
- `comparisons`: two editors on the items scored for both
- `acceptance`: does a judge tell its controls apart from real edits?
- `noise`: repeatability of one judge, within a run and between runs
- `summaries`: mean, spread, coverage and states of a set of rows
- `agreement`, `pairwise`: a judge against human raters
- `panel`, `disputes`: judges with each other
- `resampled`: the bootstrap of `agreement`, over items
- `legacy`: the numbers that the original benchmark's rules would have printed
"""
