"""Run one server for exactly as long as the process that uses it.

python process_guard.py PARENT USER FOLDER COMMAND...

Starts COMMAND in FOLDER (as USER, or as the present user if that is `-`), prints its process id, and ends when it ends.
When PARENT ends, in any way, the server is stopped and FOLDER is removed. When the process guard itself is killed,
Linux kills the server. So nothing that a test run started can outlive it.

This program uses nothing but the standard library, and is run by its path.
"""

import contextlib
import ctypes
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

STOP_TIMEOUT_SECONDS = 3.0
"""How long an abandoned server may take to stop before it is killed."""


def exit_with_parent() -> Callable[[], None] | None:
    """What the server calls before it starts its own program, so that it dies with this process; None where Linux's
    call is missing."""
    if not sys.platform.startswith("linux"):
        return None
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
    prctl = ctypes.CDLL(None).prctl
    guard_pid = os.getpid()

    def bind() -> None:
        prctl(set_parent_death_signal, signal.SIGQUIT)
        if os.getppid() != guard_pid:
            os._exit(1)

    return bind


def start(user: str | None, folder: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Start the server, its output on our standard error."""
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=2,
        preexec_fn=exit_with_parent(),
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def wait_until_abandoned(parent: int) -> None:
    """Return once no process needs the server: our standard input was closed, or we have another parent.

    Closed input is noticed at once, but never while a fork of the parent holds the other end open.
    """
    while os.getppid() == parent and not select.select([0], [], [], 0.5)[0]:
        pass


def main(parent: str, user: str, folder: str, *command: str) -> int:
    server = start(None if user == "-" else user, folder, list(command))
    abandoned = threading.Event()

    def stop_and_remove() -> None:
        wait_until_abandoned(int(parent))
        abandoned.set()
        server.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT_SECONDS)
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)

    watch = threading.Thread(target=stop_and_remove, daemon=True)
    watch.start()
    print(server.pid, flush=True)
    status = server.wait()
    if abandoned.is_set():
        watch.join()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
