"""Settings of Python's garbage collector for billvend's own processes. A program that uses the library sets its own."""

import gc
from typing import Final

GC_THRESHOLDS: Final = (50_000, 20, 20)
"""New objects between two collections (Python's default: 700). Modules live as long as the process. Scanning them again
and again took 10 % of a command's start, and made the slowest answers of a server slower by a third."""


def relax_gc() -> None:
    """Collect rarely. Call it at the start of a process."""
    gc.set_threshold(*GC_THRESHOLDS)


def freeze_gc() -> None:
    """Exclude all objects of now from later collections. Call it when a server has loaded everything."""
    gc.collect()
    gc.freeze()
