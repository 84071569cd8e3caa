#!/usr/bin/env python3
"""Runs a command for which programs of arm64 are like this machine's own: `emulated.py COMMAND...`, as root.

The kernel is told of the emulator in a namespace of users of the command's own (Linux 6.7 or newer): the machine itself
knows nothing of it, and nothing is left when the command ends. Ids are the same within and without.
"""

import ctypes
import os
import pathlib
import sys

BINFMT = pathlib.Path("/proc/sys/fs/binfmt_misc")
RULE = pathlib.Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of the package qemu-user-static
NEW_NAMESPACES = 0x10000000 | 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS
PRIVATE = 0x40000 | 0x4000  # MS_PRIVATE, MS_REC
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        sys.exit(f"emulated.py: {name}: {os.strerror(ctypes.get_errno())}; it needs root and Linux 6.7 or newer")


def child(entered, mapped, command):
    call("unshare", NEW_NAMESPACES)
    os.write(entered, b"x")
    os.read(mapped, 1)
    call("mount", b"none", b"/", None, PRIVATE, None)
    call("mount", b"binfmt_misc", os.fsencode(BINFMT), b"binfmt_misc", 0, None)
    (BINFMT / "register").write_bytes(RULE.read_bytes().strip())
    os.execvp(command[0], command)


def main():
    entered, mapped = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        child(entered[1], mapped[0], sys.argv[1:])
    os.close(entered[1])
    if os.read(entered[0], 1):
        for kind in ("uid", "gid"):
            pathlib.Path(f"/proc/{pid}/{kind}_map").write_text(pathlib.Path(f"/proc/self/{kind}_map").read_text())
    os.write(mapped[1], b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
