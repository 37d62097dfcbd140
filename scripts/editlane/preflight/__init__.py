"""What can be known before a run: checks of this machine against the config, and an estimate from earlier runs.

setup      what the checks look at: the config's parts, the GPUs
findings   what a check says, and how it is printed
checks     which checks there are, and which of them every workflow begins with
devices    the GPUs that lanes can lease
gpus       GPUs visible and free, lanes for each of them
memory     memory of GPUs and host against the models
weights    how large a checkpoint is once it is loaded
models     checkpoints complete, or in the hub's cache
disk       space and files against the expected output
folders    the folders of results and leases: writable, with locks, local
packages   the packages of this Python, or the conda environments
dataset    every record read, images decoded, prompts there
machine    Python, clock, locale, temporary folder, limits
figures    what items cost in earlier runs
workload   what is left to do in this run
estimate   hours, GPU-hours and disk from both

Nothing here writes to the results, loads a model or touches a GPU.
"""
