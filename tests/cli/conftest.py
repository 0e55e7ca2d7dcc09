"""A command line in a folder of its own, with and without money."""

from pathlib import Path

import pytest

from tests.cli.console import Console


@pytest.fixture
def billvend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    monkeypatch.chdir(tmp_path)
    return Console(tmp_path, capsys)


@pytest.fixture
def funded(billvend: Console) -> Console:
    """The same, with NGN 5,000.00 in the wallet of ada."""
    assert billvend("fund", "ada", "5000").status == 0
    return billvend
