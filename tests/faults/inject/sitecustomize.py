"""Faults from outside: Python imports this at its start where PYTHONPATH names its folder; no hooks in scripts/.

FAULTS is a folder with `plan.json`, a list of faults:
    name     of the fault
    at       "module:function" or "module:Class.method" that is wrapped when the module is imported
    program  only in the step program of this file name          lane    only in the lane of this number
    device   only with this CUDA_VISIBLE_DEVICES                 match   only where the arguments, as text, contain this
    nth      at the n-th such call of a process (default 1)      times   so often over all processes (default 1)
    onwards  true: at the later calls of the process, too
    do       what happens just before the call: see ACTIONS      after   true: just after it
A fault takes the file `tokens/NAME.N` away (one process wins) and leaves `fired/NAME.N`: its time and process id.
"""

import ctypes
import errno
import functools
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time

FOLDER = os.environ.get("FAULTS", "")


def send(number, target):
    """To the process itself, to the workflow (the leader of its session) or to its process group."""
    if target == "lane":
        os.kill(os.getpid(), number)
    elif target == "workflow":
        os.kill(os.getsid(0), number)
    else:
        os.killpg(os.getpgrp(), number)
    time.sleep(0.05)  # a signal to others may come back to us: here, not somewhere later


def half(fault, number, handle, data):
    """In the middle of a write."""
    os.write(handle, bytes(data)[: len(data) // 2])
    send(number, "lane")


def wait(fault):
    """Until the test says so."""
    while not os.path.exists(os.path.join(FOLDER, "go", fault["name"])):
        time.sleep(0.02)


def out_of_memory():
    from editlane.core.errors import OutOfMemory

    raise OutOfMemory("CUDA out of memory. Tried to allocate 2.50 GiB (simulated)")


def device_fails():
    raise RuntimeError("CUDA error: uncorrectable ECC error encountered (simulated)")


def fails(number):
    raise OSError(number, os.strerror(number))


def speak(fault):
    """As a library or a model may: past Editlane, in its words, and to the terminal."""
    os.write(2, fault["words"].encode())


def fail(fault):
    from editlane.core.errors import UserError

    raise UserError(fault["words"])


def talk_nonsense(wire):
    """Send the reward server a frame that is no message."""
    wire._writing.write(b"\0\0\0\x20" + os.urandom(32))
    wire._writing.flush()


ACTIONS = {
    "nonsense": lambda fault, wire, *args: talk_nonsense(wire),
    "speak": lambda fault, *args: speak(fault),
    "fail": lambda fault, *args: fail(fault),
    "kill": lambda fault, *args: send(getattr(signal, fault["signal"]), fault.get("target", "lane")),
    "half": lambda fault, *args: half(fault, getattr(signal, fault["signal"]), *args),
    "hang": lambda fault, *args: time.sleep(3600),
    "freeze": lambda fault, *args: ctypes.PyDLL(None).sleep(3600),  # holds the interpreter: no other thread runs
    "wait": lambda fault, *args: wait(fault),
    "oom": lambda fault, *args: out_of_memory(),
    "device": lambda fault, *args: device_fails(),
    "full": lambda fault, *args: fails(errno.ENOSPC),
    "eio": lambda fault, *args: fails(errno.EIO),
}


def meant(fault, args, kwargs):
    """Whether this call is one that the fault is about."""
    if fault.get("program", "") not in os.path.basename(sys.argv[0]):
        return False
    if "lane" in fault and f"--lane {fault['lane']} " not in f"{' '.join(sys.argv)} ":
        return False
    if "device" in fault and os.environ.get("CUDA_VISIBLE_DEVICES") != fault["device"]:
        return False
    return "match" not in fault or fault["match"] in f"{args} {kwargs}"


def take_token(fault):
    """Whether this process is the one that the fault happens to."""
    for number in range(fault.get("times", 1)):
        token = f"{fault['name']}.{number}"
        try:
            os.unlink(os.path.join(FOLDER, "tokens", token))
        except FileNotFoundError:
            continue
        path = os.path.join(FOLDER, "fired", token)
        with open(path + ".partial", "w") as file:
            json.dump({"at": time.monotonic(), "pid": os.getpid()}, file)
        os.rename(path + ".partial", path)
        return True
    return False


def wrapped(function, fault):
    calls = [0]

    @functools.wraps(function)
    def with_fault(*args, **kwargs):
        happens = False
        if meant(fault, args, kwargs):
            calls[0] += 1
            due = calls[0] - fault.get("nth", 1)
            happens = (due == 0 or (due > 0 and fault.get("onwards", False))) and take_token(fault)
        if not happens:
            return function(*args, **kwargs)
        if fault.get("after"):
            result = function(*args, **kwargs)
            ACTIONS[fault["do"]](fault, *args)
            return result
        ACTIONS[fault["do"]](fault, *args)
        return function(*args, **kwargs)

    return with_fault


def patch(module, faults):
    for fault in faults:
        place = module
        *path, name = fault["at"].split(":")[1].split(".")
        for part in path:
            place = getattr(place, part)
        setattr(place, name, wrapped(getattr(place, name), fault))


class Loader(importlib.abc.Loader):
    """The module's own loader, and then the faults."""

    def __init__(self, own, faults):
        self.own, self.faults = own, faults

    def create_module(self, spec):
        return self.own.create_module(spec)

    def exec_module(self, module):
        self.own.exec_module(module)
        patch(module, self.faults)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that faults are about."""

    def __init__(self, faults):
        self.faults = faults

    def find_spec(self, name, path, target=None):
        faults = [fault for fault in self.faults if fault["at"].split(":")[0] == name]
        spec = importlib.machinery.PathFinder.find_spec(name, path) if faults else None
        if spec is not None:
            spec.loader = Loader(spec.loader, faults)
        return spec


if FOLDER:
    with open(os.path.join(FOLDER, "plan.json"), encoding="utf-8") as plan:
        PLAN = json.load(plan)
    patch(os, [fault for fault in PLAN if fault["at"].startswith("os:")])
    sys.meta_path.insert(0, Finder([fault for fault in PLAN if not fault["at"].startswith("os:")]))
