#!/bin/bash
# End what slurm_up.sh started, running jobs included, and remove its folder:
#
#     tests/slurm/slurm_down.sh /tmp/slurm
set -u
folder=$(realpath -m "$1")
[ -e "$folder/env" ] || { echo "error: no SLURM was started in $folder." >&2; exit 2; }
. "$folder/env"
scancel --user="$(id -un)" 2>/dev/null
for _ in {1..150}; do # KillWait and a little
    [ -z "$(squeue --noheader 2>/dev/null)" ] && break
    sleep 0.2
done
for daemon in slurmd slurmctld munged; do
    pid=$(cat "$folder/$daemon.pid" 2>/dev/null) || continue
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
done
rm -rf "$folder"
