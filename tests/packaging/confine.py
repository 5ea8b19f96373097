"""Runs a command under a filter of system calls, as systemd would: confine.py UNIT COMMAND ..."""

import ctypes
import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM


def possible():
    """Whether this machine has what it takes: systemd's names of sets, and libseccomp."""
    try:
        library()
        sets()
    except (OSError, subprocess.CalledProcessError):
        return False
    return platform.system() == "Linux"


def library():
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    return seccomp


def sets():
    """What systemd calls @system-service and so on; the names in a set may be sets."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager"]
    found, name = {}, ""
    for line in subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.splitlines():
        word = line.strip().lstrip("#").strip()
        if line.startswith("@"):
            name = word
        elif line.startswith("    ") and not line.strip().startswith("#"):
            found.setdefault(name, set()).add(word)
    return found


def calls(names, known):
    """The system calls behind names of calls and of sets."""
    for name in names:
        if name.startswith("@"):
            yield from calls(known[name], known)
        else:
            yield name


def allowed(unit, known):
    """What is left of the first line of a unit's SystemCallFilter after those that take away."""
    left = set()
    for line in unit.splitlines():
        if line.startswith("SystemCallFilter="):
            value = line.partition("=")[2]
            if value.startswith("~"):
                left -= set(calls(value[1:].split(), known))
            else:
                left |= set(calls(value.split(), known))
    return left


def enforce(names):
    """Answer EPERM to this process, and to what it becomes, for every other call."""
    seccomp = library()
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    enforce(allowed(Path(sys.argv[1]).read_text(), sets()))
    os.execv(sys.argv[2], sys.argv[2:])
