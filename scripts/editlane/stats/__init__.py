"""Numbers from scores: no files, no models, no state. Everything is resampled by source image.

- `intervals`: 95 % intervals of means and rates
- `comparisons`: two editors on the items scored for both
- `acceptance`: whether a judge tells its controls apart from real edits
- `noise`: how far one judge's answers to the same question differ, within a run and between runs
- `agreement`: a judge against people
- `resampled`: the bootstrap of `agreement`, over items
- `legacy`: what the original benchmark's rules would have printed
"""
