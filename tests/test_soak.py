"""The soak, for a few seconds: that it pays, settles and measures, and what it reports as wrong."""

from pathlib import Path

import pytest

from benchmarks.soak import SoakResult, find_problems, memory_growth, soak
from tests.support import servers


def test_soak_pays_settles_and_measures_every_process(postgres_url: str, tmp_path: Path) -> None:
    with servers.valkey() as redis:
        soaked = soak(postgres_url, redis, tmp_path, seconds=2)
    assert soaked.payments > 0
    assert len(soaked.memory_mib) == 5  # the server, its two processes, and two workers
    assert all(10 < size < 1_000 for sizes in soaked.memory_mib.values() for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ([90.0, *[100.0] * 11], None),
        ([50.0, 90.0, *[100.0] * 30], None),  # it grows while everything is loaded, and no further
        ([100.0 + n for n in range(40)], "process 7 grew to 1."),
        ([100.0] * 39 + [151.0], "process 7 used 151 MiB"),
        ([100.0], None),
    ],
)
def test_soak_reports_memory_growth(sizes: list[float], complaint: str | None) -> None:
    found = find_problems(SoakResult(memory_mib={7: sizes}))
    assert [each.startswith(complaint or "") for each in found] == ([True] if complaint else [])


def test_growth_compares_second_quarter_with_last() -> None:
    assert memory_growth([0.0, 0.0, 10.0, 10.0, 50.0, 50.0, 12.0, 12.0]) == 1.2
