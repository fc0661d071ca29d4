"""Runs a program behind the walls that systemd would put up by seccomp: system calls and families of addresses.

Usage: walls.py '{"calls": ["read", ...], "families": ["AF_INET", ...]}' program [arguments]
"""

import errno
import json
import os
import socket
import sys

import pyseccomp as seccomp


def restrict_calls(calls):
    """What is not listed is answered with EPERM; a call that this machine does not have is left out, as systemd does."""
    walls = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for call in calls:
        try:
            walls.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, OSError, ValueError):
            pass
    walls.load()


def restrict_families(names):
    allowed = {getattr(socket, name) for name in names}
    walls = seccomp.SyscallFilter(seccomp.ALLOW)
    for family in range(64):
        if family not in allowed:
            refuse = seccomp.ERRNO(errno.EAFNOSUPPORT)
            walls.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    walls.load()


def main():
    walls = json.loads(sys.argv[1])
    restrict_families(walls["families"])
    restrict_calls(walls["calls"])
    os.execvp(sys.argv[2], sys.argv[2:])


main()
