"""The results as a picture: each as a ratio to its target."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Picture

from benchmarks.results import BenchmarkResult

MET_COLOUR, MISSED_COLOUR = "#2a7f62", "#b5532a"


def draw(results: Sequence[BenchmarkResult], path: Path) -> None:
    """Write the picture as SVG. A bar of 1 just meets the target, and longer is better."""
    rows = [(result, share) for result in results if (share := _ratio_to_target(result)) is not None]
    picture = Picture(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
    axes = picture.subplots()
    positions = range(len(rows) - 1, -1, -1)
    bars = axes.barh(
        list(positions),
        [share for _, share in rows],
        color=[MET_COLOUR if s >= 1 else MISSED_COLOUR for _, s in rows],
    )
    axes.bar_label(bars, labels=[_label(figure) for figure, _ in rows], padding=4, fontsize=8)
    axes.set_yticks(list(positions), [figure.target.title for figure, _ in rows], fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, max(share for _, share in rows) * 1.25)
    axes.set_xlabel("ratio to the target (1 meets it)")
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, format="svg", metadata={"Date": None})


def _ratio_to_target(result: BenchmarkResult) -> float | None:
    target = result.target
    value = result.value if target.relative_to is None else result.ratio
    if value is None:
        return None
    if target.minimum is not None:
        return value / target.minimum
    return None if target.maximum is None else target.maximum / value


def _label(result: BenchmarkResult) -> str:
    value = f"{result.value:,.0f}" if result.value >= 100 else f"{result.value:.3g}"
    ratio = "" if result.ratio is None else f" = {result.ratio:.2f} {result.target.relative_to}"
    return f"{value} {result.target.unit}{ratio}"
