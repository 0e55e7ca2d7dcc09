"""The figures as a picture: what was reached of what was to be reached."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Picture

from billvend.bench.figures import Figure

FINE, SHORT = "#2a7f62", "#b5532a"


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Write it as SVG. A bar of 1 is just what is to be reached, and longer is better."""
    rows = [(figure, share) for figure in figures if (share := _share(figure)) is not None]
    picture = Picture(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
    axes = picture.subplots()
    places = range(len(rows) - 1, -1, -1)
    bars = axes.barh(
        list(places), [share for _, share in rows], color=[FINE if s >= 1 else SHORT for _, s in rows]
    )
    axes.bar_label(bars, labels=[_told(figure) for figure, _ in rows], padding=4, fontsize=8)
    axes.set_yticks(list(places), [figure.wanted.title for figure, _ in rows], fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, max(share for _, share in rows) * 1.25)
    axes.set_xlabel("of what is to be reached (1)")
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, format="svg", metadata={"Date": None})


def _share(figure: Figure) -> float | None:
    wanted = figure.wanted
    measure = figure.value if wanted.beside is None else figure.ratio
    if measure is None:
        return None
    if wanted.at_least is not None:
        return measure / wanted.at_least
    return None if wanted.at_most is None else wanted.at_most / measure


def _told(figure: Figure) -> str:
    value = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}"
    beside = "" if figure.ratio is None else f" = {figure.ratio:.2f} {figure.wanted.beside}"
    return f"{value} {figure.wanted.unit}{beside}"
