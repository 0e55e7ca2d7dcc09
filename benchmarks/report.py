"""The results for people: a table, and the machine that they were measured on."""

from collections.abc import Mapping
from typing import Any

from benchmarks.results import TARGETS, BenchmarkResult
from billvend.cli.blocks import Table


def results_table(results: list[BenchmarkResult]) -> Table:
    """Each result with its target, and whether it meets it."""
    titles = {target.name: target.title for target in TARGETS}
    rows = []
    for result in results:
        target = result.target
        relative_to = ""
        if result.ratio is not None and target.relative_to is not None:
            # The baselines T, M and H are shown by their names, other results by their titles.
            name = target.relative_to if len(target.relative_to) == 1 else f"'{titles[target.relative_to]}'"
            relative_to = f"{result.ratio:.2f} of {name}"
        limit = target.minimum if target.minimum is not None else target.maximum
        sign = "at least" if target.minimum is not None else "at most"
        target_text = "" if limit is None else f"{sign} {limit:,g}"
        met = {True: "yes", False: "no", None: ""}[result.is_met]
        rows.append((target.title, f"{_number(result.value)} {target.unit}", relative_to, target_text, met))
    return Table(("Metric", "Median", "Ratio", "Target", "Met"), rows)


def machine_line(result: Mapping[str, Any]) -> str:
    """The machine, the database and the versions that a document's results were measured with."""
    machine = result["machine"]
    versions = {"Python": machine["python"], **machine["packages"]}
    versions_text = ", ".join(
        f"{name} {version}" for name, version in versions.items() if version is not None
    )
    return f"{machine['system']}, {machine['cores']} cores; {result['database']}; {versions_text}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
