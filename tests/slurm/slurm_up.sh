#!/bin/bash
# Start SLURM with one node and six GPUs that only count, all in one folder:
#
#     tests/slurm/slurm_up.sh /tmp/slurm && . /tmp/slurm/env
#
# Debian's packages are downloaded and unpacked there, not installed. Nothing outside the folder changes, and
# slurm_down.sh ends it. Needs no root. Exit code 3: the packages cannot be had here; the reason is on stderr.
set -eu
folder=$(realpath -m "$1")
root=$folder/root
libs=$root/usr/lib/$(uname -m)-linux-gnu
[ -e "$folder/env" ] && { echo "error: $folder/env exists: stop that SLURM first with slurm_down.sh." >&2; exit 2; }
mkdir -p "$folder"/{bin,debs/partial,root,state,spool}

unavailable() { echo "SLURM's packages cannot be had: $1" >&2; exit 3; }
for tool in apt-get dpkg-deb; do command -v $tool >/dev/null || unavailable "no $tool (not Debian)"; done
[ "$(id -u)" != 0 ] || apt-get update -qq >"$folder/apt.log" 2>&1 || unavailable "apt-get update fails"
apt-get install --download-only --reinstall -y --no-install-recommends -o Debug::NoLocking=1 \
    -o Dir::Cache::archives="$folder/debs" slurmctld slurmd slurm-client munge >>"$folder/apt.log" 2>&1 ||
    unavailable "apt-get install --download-only fails: $(grep -m 1 '^E:' "$folder/apt.log")"
for package in "$folder"/debs/*.deb; do dpkg-deb --extract "$package" "$root"; done
for daemon in slurmctld slurmd slurmstepd; do # they read their own part of the configuration only under these names
    ln -sf $daemon-wlm "$root/usr/sbin/$daemon"
done

# What a user of this SLURM needs. Its commands find their configuration by SLURM_CONF.
cat >"$folder/env" <<X
export SLURM_CONF=$folder/slurm.conf
export PATH=$folder/bin:$root/usr/bin:\$PATH
export LD_LIBRARY_PATH=$libs/slurm-wlm:$libs\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
X
. "$folder/env"
# Snakemake starts srun without any SLURM_* variable.
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$folder/slurm.conf" "$root/usr/bin/srun" >"$folder/bin/srun"
chmod +x "$folder/bin/srun"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
me=$(id -un) host=$(hostname -s)
# SLURM wants character devices, and numbers them by their names.
for number in {0..5}; do ln -s /dev/null "$folder/gpu$number"; done
cat >"$folder/slurm.conf" <<X
ClusterName=editlane-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
PluginDir=$libs/slurm-wlm
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
ReturnToService=2
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=3600
KillWait=10
TaskProlog=$folder/task_prolog
NodeName=$host NodeAddr=127.0.0.1 CPUs=48 Boards=1 SocketsPerBoard=1 CoresPerSocket=48 ThreadsPerCore=1 RealMemory=1000000 Gres=gpu:h200:6 State=UNKNOWN
PartitionName=gpu Nodes=$host Default=YES MaxTime=INFINITE State=UP
PartitionName=nocuda Nodes=$host MaxTime=INFINITE State=UP
X
cat >"$folder/gres.conf" <<X
AutoDetect=off
NodeName=$host Name=gpu Type=h200 File=$folder/gpu[0-5]
X

# Keeps a record of the GPUs that SLURM gives, and hides them in the partition nocuda: a model of torch takes the CPU.
cat >"$folder/task_prolog" <<X
#!/bin/sh
echo "\$SLURM_JOB_ID \$SLURM_STEP_GPUS" >>$folder/grants
[ "\$SLURM_JOB_PARTITION" != nocuda ] || echo "export CUDA_VISIBLE_DEVICES="
X
chmod +x "$folder/task_prolog"

(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
# --force: it warns, then, that other users cannot reach this folder.
"$root/usr/sbin/munged" --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" \
    2>"$folder/munged.stderr"
"$root/usr/sbin/slurmctld" -c
"$root/usr/sbin/slurmd" -d "$root/usr/sbin/slurmstepd"
for _ in {1..100}; do
    [ "$(sinfo --noheader --format=%T --partition=gpu 2>/dev/null)" = idle ] && exit 0
    sleep 0.2
done
echo "error: SLURM did not get up; see the logs in $folder." >&2
exit 1
