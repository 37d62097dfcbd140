"""The lease of a device: never two processes on one, whatever goes wrong."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import wait_for

from editlane.core.errors import UserError
from editlane.core.locks import open_lock, open_lock_folder
from editlane.lanes.gpu_lease import make_lease_folder
from editlane.lanes.gpu_locks import OpenLocks, try_lock
from editlane.lanes.gpu_strikes import Lease, write_lease

SCRIPT = Path("scripts/gpulease.py").resolve()
UUIDS = ["GPU-aaaa1111", "GPU-bbbb2222", "GPU-cccc3333"]


@pytest.fixture
def machine(tmp_path: Path):
    """A machine with three GPUs: an nvidia-smi that says so, and an empty lease folder."""
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    asked = shlex.quote(str(tmp_path / "asked"))
    smi.write_text(f"#!/bin/sh\necho $PPID >> {asked}\n" + "".join(f"echo '{n}, {u}'\n" for n, u in enumerate(UUIDS)))
    smi.chmod(0o755)
    env = {"PATH": f"{smi.parent}:{os.environ['PATH']}", "GPULEASE_DIR": str(tmp_path / "leases")}

    def start(*command: str, n: int = 1, forgive: str = "", **extra: str) -> subprocess.Popen[str]:
        other = ["--forgive", forgive] if forgive else ["--show"]
        flags = [sys.executable, str(SCRIPT), *(["-n", str(n), "--", *command] if command else other)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(flags, env=env | extra, text=True, **pipes)

    return start


def devices(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.strip()


SHOW = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
HOLD = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec cat")
"""Hold a device until `release`."""


def held(holder: subprocess.Popen[str]) -> str:
    """Wait until a HOLD has its devices; return their names."""
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


def release(*holders: subprocess.Popen[str]) -> None:
    for holder in holders:
        holder.communicate(timeout=30)


@pytest.fixture
def waits(tmp_path: Path):
    """Return whether a process still waits for its device after it has asked for it several times."""
    asked = tmp_path / "asked"

    def still(process: subprocess.Popen[str]) -> bool:
        wait_for(lambda: asked.exists() and str(process.pid) in asked.read_text().split())
        time.sleep(0.7)
        return process.poll() is None

    return still


def test_every_process_gets_a_device_of_its_own(machine) -> None:
    running = [machine(*HOLD) for _ in range(3)]
    assert sorted(map(held, running)) == UUIDS
    release(*running)


def test_no_device_is_held_twice_with_more_jobs_than_devices(machine, tmp_path: Path) -> None:
    code = f"""
import os, pathlib, sys, time
mark = pathlib.Path({str(tmp_path)!r}) / ("busy-" + os.environ["CUDA_VISIBLE_DEVICES"])
mark.touch(exist_ok=False)
time.sleep(0.15)
mark.unlink()
print("ok")
"""
    running = [machine(sys.executable, "-c", code) for _ in range(12)]
    assert [devices(process) for process in running] == ["ok"] * 12


def test_an_index_and_a_uuid_of_one_gpu_are_the_same_device(machine, waits) -> None:
    holder = machine(*HOLD, CUDA_VISIBLE_DEVICES="1")
    assert held(holder) == "1"
    other = machine(*SHOW, CUDA_VISIBLE_DEVICES="GPU-bbbb")
    assert waits(other)
    release(holder)
    assert devices(other) == "GPU-bbbb2222", "the whole uuid: vLLM does not know shortened ones"


def test_sigkill_gives_the_device_back(machine) -> None:
    holder = machine(*HOLD, CUDA_VISIBLE_DEVICES="0")
    assert held(holder) == "0"
    holder.kill()
    release(holder)
    assert devices(machine(*SHOW, CUDA_VISIBLE_DEVICES="0")) == "0"


def test_a_child_that_outlives_the_command_keeps_the_device(machine, waits) -> None:
    child = "exec 9<&0; cat <&9 >/dev/null 2>&1 & echo gone"
    holder = machine("sh", "-c", child, CUDA_VISIBLE_DEVICES="0")
    assert (held(holder), holder.wait(timeout=30)) == ("gone", 0)
    waiter = machine(*SHOW, CUDA_VISIBLE_DEVICES="0")
    assert waits(waiter)
    release(holder)
    assert devices(waiter) == "0"


def test_who_waits_for_one_device_does_not_hold_up_another(machine, waits) -> None:
    holder = machine(*HOLD, CUDA_VISIBLE_DEVICES="0")
    assert held(holder) == "0"
    waiter = machine(*SHOW, CUDA_VISIBLE_DEVICES="0")
    assert waits(waiter)
    assert devices(machine(*SHOW, CUDA_VISIBLE_DEVICES="1")) == "1"
    assert waiter.poll() is None
    release(holder)
    assert devices(waiter) == "0"


def test_who_waits_for_two_holds_neither(machine, waits) -> None:
    holder = machine(*HOLD, CUDA_VISIBLE_DEVICES="0")
    assert held(holder) == "0"
    waiter = machine(*SHOW, n=2, CUDA_VISIBLE_DEVICES="0,1")
    assert waits(waiter)
    assert devices(machine(*SHOW, CUDA_VISIBLE_DEVICES="1")) == "1"
    assert waiter.poll() is None
    release(holder)
    assert devices(waiter) == "0,1"


def test_two_devices_for_one_process(machine) -> None:
    assert sorted(devices(machine(*SHOW, n=2)).split(",")) == UUIDS[:2]


def test_who_wants_no_device_gets_none_at_once(machine) -> None:
    holders = [machine("sleep", "20") for _ in UUIDS]
    try:
        out, err = machine("sh", "-c", "echo devices: $CUDA_VISIBLE_DEVICES.", n=0).communicate(timeout=10)
        assert (out, err) == ("devices: .\n", "")
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_a_machine_without_gpus_has_one_slot_a_core(machine) -> None:
    slots = len(os.sched_getaffinity(0))
    running = [machine(*HOLD, CUDA_VISIBLE_DEVICES="") for _ in range(slots)]
    assert [held(process) for process in running] == [""] * slots
    release(*running)
    late = machine("true", CUDA_VISIBLE_DEVICES="", n=slots + 1)
    assert "this machine offers" in late.communicate()[1]
    assert late.returncode == 2


def test_slurm_devices_keep_their_names_and_other_jobs_do_not_matter(machine) -> None:
    one = machine(*HOLD, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0")
    assert held(one) == "0"
    assert devices(machine(*SHOW, SLURM_JOB_ID="8", CUDA_VISIBLE_DEVICES="0")) == "0"
    release(one)


def test_two_processes_in_one_slurm_allocation_do_not_share(machine) -> None:
    pair = [machine(*HOLD, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1") for _ in range(2)]
    assert sorted(map(held, pair)) == ["0", "1"]
    release(*pair)


def test_a_failing_nvidia_smi_is_said_and_not_taken_for_a_cpu_machine(machine, tmp_path: Path) -> None:
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\necho 'driver/library version mismatch'\nexit 18\n")
    process = machine("true")
    _, err = process.communicate()
    assert process.returncode == 2
    assert "driver/library version mismatch" in err


def test_one_lost_gpu_does_not_stop_the_others(machine, tmp_path: Path) -> None:
    smi = tmp_path / "bin/nvidia-smi"
    lost = "Unable to determine the device handle for GPU0000:0B:00.0: GPU is lost. Reboot the system."
    smi.write_text(smi.read_text() + f"echo '3, [GPU is lost]'\necho '{lost}'\nexit 15\n")
    running = [machine(*HOLD) for _ in range(3)]
    assert sorted(map(held, running)) == UUIDS
    for process in running:
        told = process.communicate(timeout=30)[1]
        assert "warning: gpulease: nvidia-smi fails: '3, [GPU is lost]'. The run goes on with the 3 GPUs" in told
    smi.write_text(f"#!/bin/sh\necho '{lost}'\nexit 15\n")
    process = machine("true")
    assert "GPU is lost" in process.communicate()[1]
    assert process.returncode == 2


def test_one_more_line_of_a_sound_nvidia_smi_is_passed_on_and_no_failure(machine, tmp_path: Path) -> None:
    smi = tmp_path / "bin/nvidia-smi"
    smi.write_text(smi.read_text() + "echo 'A newer driver is available' >&2\n")
    out, told = machine(*SHOW).communicate(timeout=30)
    assert out.strip() == UUIDS[0]
    assert told.splitlines() == [
        "gpulease: note: nvidia-smi says 'A newer driver is available'",
        f"gpulease: holds {UUIDS[0]}",
    ]
    smi.write_text(smi.read_text() + "echo '3, [GPU is lost]'\n")
    assert "warning: gpulease: nvidia-smi fails: " in machine(*SHOW).communicate(timeout=30)[1]


def put_link(place: Path) -> None:
    (place.parents[1] / "precious").write_text("mine")
    place.symlink_to(place.parents[1] / "precious")


def put_second_name(place: Path) -> None:
    (place.parents[1] / "precious").write_text("mine")
    place.hardlink_to(place.parents[1] / "precious")


@pytest.mark.parametrize(
    ("put", "what"),
    [
        (put_link, "a link"),
        (lambda place: place.symlink_to("nowhere"), "a link"),
        (put_second_name, "a file with a second name"),
        (os.mkfifo, "a FIFO"),
        (Path.mkdir, "a folder"),
    ],
    ids=["link", "dangling link", "hard link", "fifo", "folder"],
)
def test_what_somebody_put_in_the_place_of_a_lock_is_named_and_left_alone(machine, tmp_path: Path, put, what) -> None:
    leases = tmp_path / "leases"
    leases.mkdir()
    put(leases / f"{UUIDS[1]}.lock")
    for asked in (machine("true"), machine("true"), machine(), machine(forgive=UUIDS[1])):
        _, told = asked.communicate(timeout=30)
        assert asked.returncode == 2
        assert told.startswith(f"error: gpulease: {leases}/{UUIDS[1]}.lock is {what}")
        assert "Traceback" not in told
    if (tmp_path / "precious").exists():
        assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_takes_no_lock_file_is_named_and_not_its_rights(tmp_path: Path, monkeypatch, number: int) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("editlane.core.locks.os.open", refuse)
    with pytest.raises(UserError, match=rf"cannot write to .*: {os.strerror(number)}\. Check its disk") as told:
        open_lock(str(tmp_path / "a.lock"))
    assert "rights" not in str(told.value)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"strikes": 3}', "\udcff\0", '{"holder": "\\ud800", "strikes": []}']
)
def test_a_lock_file_with_anything_in_it_is_a_lock_file(machine, tmp_path: Path, content: str) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / f"leases/{UUIDS[0]}.lock").write_bytes(content.encode(errors="surrogatepass"))
    assert devices(machine(*SHOW)) == UUIDS[0]
    assert [line.split()[1] for line in show(machine)] == ["free"] * 3


def test_a_folder_of_locks_that_another_user_controls_is_refused_with_what_to_do(machine, tmp_path: Path) -> None:
    leases, own = tmp_path / "leases", tmp_path / "mine"
    own.mkdir(mode=0o700)
    leases.symlink_to(own)
    assert "is a link. Remove it, or set GPULEASE_DIR" in refusal(machine)
    assert own.stat().st_mode & 0o777 == 0o700
    leases.unlink()
    leases.mkdir()
    leases.chmod(0o777)
    assert f"other users may remove the locks: `chmod +t {leases}`" in refusal(machine)
    if os.geteuid() == 0:
        leases.chmod(0o775)
        assert f"other users may remove the locks: `chmod +t {leases}`" in refusal(machine)
        os.chown(leases, 4242, 4242)
        advice = f"with `sudo chown root {leases} && sudo chmod 1777 {leases}`"
        said = refusal(machine)
        assert "belongs to another user (uid 4242), who could take yours away" in said
        assert advice in said
        os.chown(leases, 65534, 65534)
        assert "belongs to the user nobody (uid 65534)" in refusal(machine)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose group is nobody's own")
def test_a_folder_of_locks_that_others_could_replace_is_refused(machine, tmp_path: Path) -> None:
    leases = tmp_path / "shared folder/leases"
    leases.mkdir(parents=True)
    leases.parent.chmod(0o775)
    env = {"GPULEASE_DIR": str(leases)}
    for asked in (machine("true", **env), machine(**env)):
        said = asked.communicate(timeout=30)[1]
        assert f"in {leases.parent} other users may replace {leases}" in said
        assert f"`chmod +t '{leases.parent}'`" in said
    leases.parent.chmod(0o1777)
    assert devices(machine(*SHOW, **env)) == UUIDS[0]


def test_a_folder_of_locks_that_cannot_be_there_is_a_mistake_and_no_crash(machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {"GPULEASE_DIR": str(tmp_path / "file/leases")}
    for asked in (machine("true", **env), machine(**env), machine(forgive=UUIDS[0], **env)):
        said = asked.communicate(timeout=30)[1]
        assert asked.returncode == 2
        assert said.startswith(f"error: gpulease: cannot use {tmp_path}/file/leases for the locks of this machine: ")
        assert said.count("\n") == 1


def test_a_folder_of_locks_above_which_this_user_may_not_look_is_a_mistake(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: object, *args: object, **named: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"leases: Permission denied\. Check its rights"):
        open_lock_folder(str(tmp_path / "leases"))
    with pytest.raises(UserError, match=r"leases: Permission denied\. Check its rights"):
        make_lease_folder(str(tmp_path / "leases"))


def test_what_is_made_is_accepted_with_any_umask(machine, tmp_path: Path) -> None:
    leases = tmp_path / "above/leases"
    made = machine(
        "sh",
        "-c",
        f"umask 0; exec {shlex.join([sys.executable, str(SCRIPT), '--', 'true'])}",
        n=0,
        GPULEASE_DIR=str(leases),
    )
    assert made.communicate(timeout=30)[1] == "gpulease: holds cpu-0\n"
    assert (leases.parent.stat().st_mode & 0o7777, leases.stat().st_mode & 0o7777) == (0o755, 0o1777)


def test_a_link_that_takes_the_place_of_a_new_folder_gets_no_rights(tmp_path: Path, monkeypatch) -> None:
    """Whoever may rename the folder between its making and its opening cannot open another folder to everybody."""
    own, leases = tmp_path / "own", tmp_path / "leases"
    own.mkdir(mode=0o700)
    monkeypatch.setattr(os, "mkdir", lambda path, mode: Path(path).symlink_to(own))
    with pytest.raises(UserError, match="is a link"):
        make_lease_folder(str(leases))
    assert own.stat().st_mode & 0o777 == 0o700


def test_the_locks_are_those_of_the_folder_that_was_checked(tmp_path: Path) -> None:
    leases = tmp_path / "leases"
    place = make_lease_folder(str(leases))
    leases.rename(tmp_path / "moved")
    leases.mkdir()
    os.close(open_lock(str(leases / "GPU-1.lock"), folder=place))
    assert [path.name for path in (tmp_path / "moved").iterdir()] == ["GPU-1.lock"]
    assert not any(leases.iterdir())
    os.close(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("uid_map", "accepted"), [("0 1000 1\n1 100000 65536\n", True), ("0 0 4294967295\n", False)])
def test_in_a_rootless_container_roots_folder_is_that_of_nobody(
    tmp_path: Path, monkeypatch, uid_map: str, accepted: bool
) -> None:
    leases = tmp_path / "leases"
    leases.mkdir()
    leases.chmod(0o1777)
    overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
    os.chown(leases, overflow, overflow)
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: uid_map if path.name == "uid_map" else read(path))
    if accepted:
        os.close(open_lock_folder(str(leases)))
        leases.chmod(0o777)
    with pytest.raises(UserError):
        open_lock_folder(str(leases))


def refusal(machine) -> str:
    """What a lease and `--show` say when they refuse."""
    told = [asked.communicate(timeout=30)[1] for asked in (machine("true"), machine())]
    assert told[0] == told[1]
    return told[0]


def test_a_wait_says_what_it_waits_for(machine) -> None:
    holder = machine("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec cat", "猫\x1b[31m", CUDA_VISIBLE_DEVICES="0,1", n=2)
    assert held(holder) == "0,1"
    waiter = machine(*SHOW, n=2, CUDA_VISIBLE_DEVICES="1,2")
    assert waiter.stderr is not None
    said = waiter.stderr.readline()
    assert said.startswith(f"gpulease: waits for 2 of 2 devices: GPU-bbbb2222 is held by '{holder.pid} -n 2 -- sh -c ")
    assert said.endswith("猫\\x1b[31m'; GPU-cccc3333 is free\n")
    release(holder)
    assert devices(waiter) == "1,2"


def test_a_command_that_does_not_exist(machine) -> None:
    process = machine("no-such-command")
    assert "cannot start 'no-such-command'" in process.communicate()[1]
    assert process.returncode == 2


def test_the_exit_code_is_the_commands(machine) -> None:
    process = machine("sh", "-c", "exit 7")
    process.communicate()
    assert process.returncode == 7


def test_a_waiter_stops_when_its_workflow_dies(machine, tmp_path: Path) -> None:
    holder = machine(*HOLD, CUDA_VISIBLE_DEVICES="0")
    assert held(holder) == "0"
    fake_workflow = tmp_path / "snakemake"  # an ancestor by that name
    waiting = shlex.join([sys.executable, str(SCRIPT), "--", "touch", f"{tmp_path}/ran"])
    commands = f"{waiting}; echo $? > {shlex.quote(str(tmp_path))}/code"
    fake_workflow.write_text(f"import subprocess\nsubprocess.run(['sh', '-c', {commands!r}])\n")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    env = {"PATH": path, "GPULEASE_DIR": str(tmp_path / "leases"), "CUDA_VISIBLE_DEVICES": "0"}
    workflow = subprocess.Popen([sys.executable, str(fake_workflow)], env=env)
    wait_for(lambda: len((tmp_path / "asked").read_text().split()) == 2)
    time.sleep(0.7)  # until it knows its workflow and waits
    workflow.kill()
    workflow.wait()
    code = tmp_path / "code"
    wait_for(lambda: code.exists() and code.read_text())
    assert code.read_text() == "75\n"
    release(holder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "visible", [{"CUDA_VISIBLE_DEVICES": "-1"}, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, {"SLURM_JOB_ID": "7"}], ids=str
)
def test_hidden_gpus_are_no_devices(machine, visible: dict[str, str]) -> None:
    process = machine(*SHOW, **visible)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (0, "")
    assert "holds cpu-" in err


def test_no_devices_found_means_the_cpu_and_an_unknown_index_is_refused(machine, tmp_path: Path) -> None:
    unknown = machine("true", CUDA_VISIBLE_DEVICES="7")
    assert "names the GPU 7, but nvidia-smi sees only 3" in unknown.communicate()[1]
    assert unknown.returncode == 2
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert devices(machine(*SHOW)) == ""


DIES = """
import os, sys
sys.path.insert(0, "scripts")
from editlane.lanes.gpu_strikes import HeldDevices
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
held = HeldDevices.from_environment()
held.mark_unproven()
if os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa1111":
    os.abort()
held.mark_working()
"""


def try_once(machine, job: str, **extra: str) -> tuple[str, int]:
    """Which device a job got, and whether it lived."""
    return ended(machine(sys.executable, "-c", DIES, job, **extra))


def ended(process: subprocess.Popen[str]) -> tuple[str, int]:
    out, _ = process.communicate(timeout=30)
    return out.strip(), process.returncode


def test_a_job_does_not_go_back_to_the_device_it_died_on_and_two_deaths_leave_it_out(machine) -> None:
    assert try_once(machine, "lane 0") == ("GPU-aaaa1111", -signal.SIGABRT)
    assert try_once(machine, "lane 0") == ("GPU-bbbb2222", 0)
    assert try_once(machine, "lane 1") == ("GPU-aaaa1111", -signal.SIGABRT)
    assert try_once(machine, "lane 2") == ("GPU-bbbb2222", 0)
    told = machine("true").communicate()[1]
    assert "warning: gpulease: GPU-aaaa1111 is quarantined: commands died on it" in told
    shown = show(machine)
    assert shown[0].startswith("GPU-aaaa1111 free, quarantined: commands died on it (")
    assert shown[1:] == ["GPU-bbbb2222 free", "GPU-cccc3333 free"]
    assert devices(machine(forgive="GPU-aaaa1111")) == ""
    assert show(machine)[0] == "GPU-aaaa1111 free"


def test_a_job_that_dies_everywhere_takes_no_device_from_the_others(machine) -> None:
    """It has no chance on any; each of the others gets what is free at once."""
    code = "import os, sys; sys.path.insert(0, 'scripts'); from editlane.lanes.gpu_strikes import HeldDevices; "
    dies = (sys.executable, "-c", code + "HeldDevices.from_environment().mark_unproven(); os.abort()")
    for job in ("lane 0", "lane 1"):
        for _ in range(3):
            died = machine(*dies, job)
            died.communicate()
            assert died.returncode == -signal.SIGABRT
    assert [line.split()[1:] for line in show(machine)] == [["free"]] * 3
    running = [machine(*HOLD) for _ in range(3)]
    assert sorted(map(held, running)) == UUIDS
    release(*running)


def test_a_job_goes_back_to_the_device_it_died_on_when_it_has_waited_for_another(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.lock") for name in UUIDS[:2]]
    place = os.open(tmp_path, os.O_RDONLY)
    struck, busy = map(open_lock, paths)
    write_lease(struck, Lease(strikes=["run:mine"]))
    assert try_lock(paths[1], busy)

    def choose(job: str, *, patient: bool) -> list[str]:
        locks = OpenLocks(paths, place)
        chosen = locks.choose(1, job, patient=patient)
        locks.close_all_but([])
        return list(chosen)

    assert choose("run:mine", patient=True) == []
    assert choose("run:other", patient=True) == paths[:1]
    assert choose("run:mine", patient=False) == paths[:1]
    os.close(busy)
    assert choose("run:mine", patient=True) == paths[1:]
    os.close(struck)


def test_a_device_that_is_not_here_cannot_be_forgiven(machine) -> None:
    unknown = machine(forgive="GPU-9")
    told = unknown.communicate()[1]
    assert (unknown.returncode, "Traceback" in told) == (2, False)
    assert told == "error: gpulease: there is no device 'GPU-9' here; --show lists them.\n"


def test_showing_the_devices_makes_no_file(machine, tmp_path: Path) -> None:
    assert len(show(machine)) == 3
    assert not (tmp_path / "leases").exists()


def show(machine) -> list[str]:
    """What `--show` says of each device."""
    return devices(machine()).splitlines()


def test_what_dies_with_its_whole_workflow_is_no_strike_in_the_next_one(machine, tmp_path: Path) -> None:
    """A machine that is switched off twice while its models load must not lose its devices for that."""
    fake_workflow = tmp_path / "snakemake"  # an ancestor by that name
    fake_workflow.write_text("import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)")

    def run(job: str) -> str:
        lease = [sys.executable, str(fake_workflow), sys.executable, str(SCRIPT), "--"]
        env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "GPULEASE_DIR": str(tmp_path / "leases")}
        done = subprocess.run([*lease, sys.executable, "-c", DIES, job], env=env, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    for job in ("lane 0", "lane 0", "lane 1", "lane 2"):
        assert run(job) == "GPU-aaaa1111"
    assert show(machine)[0] == "GPU-aaaa1111 free"


def test_a_quarantined_device_is_used_where_there_is_no_other(machine) -> None:
    alone = {"CUDA_VISIBLE_DEVICES": "GPU-aaaa1111"}
    for job in ("lane 0", "lane 1", "lane 2"):
        assert try_once(machine, job, **alone) == ("GPU-aaaa1111", -signal.SIGABRT)


def test_a_job_waits_for_a_sound_device_rather_than_taking_a_quarantined_one(machine, waits) -> None:
    for job in ("lane 0", "lane 1"):
        try_once(machine, job)
    busy = machine(*HOLD, CUDA_VISIBLE_DEVICES="GPU-bbbb2222")
    assert held(busy) == "GPU-bbbb2222"
    job = machine(sys.executable, "-c", DIES, "lane 2", CUDA_VISIBLE_DEVICES="GPU-aaaa1111,GPU-bbbb2222")
    assert waits(job)
    release(busy)
    assert ended(job) == ("GPU-bbbb2222", 0)


def test_a_core_of_the_cpu_takes_no_blame(machine) -> None:
    code = "import os; print(repr(os.environ['GPULEASE_LOCKS']))"
    assert devices(machine(sys.executable, "-c", code, CUDA_VISIBLE_DEVICES="")) == "''"


def test_a_command_ends_with_the_parent_that_it_names(tmp_path: Path) -> None:
    lease = [sys.executable, "scripts/gpulease.py", "-n", "0", "--with-parent"]
    parent = (
        "import os, subprocess, sys, time; "
        "child = subprocess.Popen([*sys.argv[1:], str(os.getpid()), '--', 'sleep', '60']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    environment = os.environ | {"GPULEASE_DIR": str(tmp_path / "leases")}
    process = subprocess.Popen(
        [sys.executable, "-c", parent, *lease], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    child = Path(f"/proc/{int(process.stdout.readline())}")
    wait_for(lambda: b"sleep" in (child / "cmdline").read_bytes())
    process.kill()
    process.communicate()
    wait_for(lambda: not child.exists() or " Z " in (child / "stat").read_text())
    foreign = subprocess.run([*lease, "1", "--", "true"], env=environment, timeout=30)
    assert foreign.returncode == 1, "that one is not its parent"
    wrong = subprocess.run([*lease, "x", "--", "true"], env=environment, capture_output=True, text=True, timeout=30)
    assert wrong.returncode == 2 and "invalid int value: 'x'" in wrong.stderr
