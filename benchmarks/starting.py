"""How long a command takes that does next to nothing."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7


def measure(folder: Path) -> dict[str, float]:
    """Seconds of `billvend --help` and `billvend balance` on SQLite, the median of a few."""
    command = [sys.executable, "-m", "billvend"]
    # What Python compiled is kept, as on any machine where a command is run twice.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["DATABASE_URL"] = f"sqlite:///{folder / 'start.db'}"

    def seconds(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run([*command, *arguments], env=environment, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - began

    seconds("fund", "ada", "5000")
    return {
        "help_seconds": statistics.median(seconds("--help") for _ in range(RUNS)),
        "balance_seconds": statistics.median(seconds("balance", "ada") for _ in range(RUNS)),
    }
