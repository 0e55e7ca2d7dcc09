"""How often Python looks for garbage in billvend's own processes: seldom. A host of the library decides for itself."""

import gc
from typing import Final

GC_THRESHOLDS: Final = (50_000, 20, 20)
"""New objects between two looks (Python's own: 700). What modules are made of stays until the process ends: to look through it
time and again took a tenth of the start of a command, and made the slowest answers of a server slower by a third."""


def relax_gc() -> None:
    """For a process that begins."""
    gc.set_threshold(*GC_THRESHOLDS)


def freeze_gc() -> None:
    """For a server that has loaded all it needs: that is not looked through any more."""
    gc.collect()
    gc.freeze()
