"""How long the shortest commands take."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
PACKAGES = "import pydantic_settings, rich, sqlalchemy, typer"
"""The packages that `billvend balance` needs."""


def measure(folder: Path) -> dict[str, float]:
    """Median seconds of `billvend --help`, of `billvend balance` on SQLite, and of importing its packages."""
    billvend, packages = ("-m", "billvend"), ("-c", PACKAGES)
    # Python keeps compiled modules, as on any machine where a command runs twice.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["DATABASE_URL"] = f"sqlite:///{folder / 'start.db'}"

    def seconds(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=folder, check=True, capture_output=True
        )
        return time.perf_counter() - began

    seconds(*billvend, "fund", "ada", "5000")
    return {
        "help_seconds": statistics.median(seconds(*billvend, "--help") for _ in range(RUNS)),
        "balance_seconds": statistics.median(seconds(*billvend, "balance", "ada") for _ in range(RUNS)),
        "packages_seconds": statistics.median(seconds(*packages) for _ in range(RUNS)),
    }
