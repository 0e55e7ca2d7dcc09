"""Run a program as the system user `nobody`.

    python drop_privileges.py PROGRAM ARGUMENTS...

Started by root. The program may read all that root may, since the interpreter and its packages can be in a folder that
only root can enter. In all else it is a user without rights. So PostgreSQL, which refuses root, runs.
"""

import ctypes
import os
import pwd
import struct
import sys

CAP_DAC_READ_SEARCH = 2  # linux/capability.h
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_KEEPCAPS = 8  # linux/prctl.h
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2


def drop_root() -> None:
    """Drop root's rights for good, except to read, where the machine lets us keep that one."""
    libc = ctypes.CDLL(None)
    account = pwd.getpwnam("nobody")
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    only_to_read = 1 << CAP_DAC_READ_SEARCH
    effective_permitted_inheritable = struct.pack("6I", *[only_to_read] * 3, 0, 0, 0)
    if libc.capset(header, effective_permitted_inheritable) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


if __name__ == "__main__":
    drop_root()
    os.environ["HOME"] = "/nonexistent"
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - that is what it is for
