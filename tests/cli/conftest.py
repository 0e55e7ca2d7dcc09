"""A command line in an empty folder, with and without money."""

import shutil
from pathlib import Path

import pytest

from billvend.cli import main
from tests.cli.console import Console


@pytest.fixture
def billvend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    monkeypatch.chdir(tmp_path)
    return Console(tmp_path, capsys)


@pytest.fixture(scope="session")
def _funded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("funded")
    assert main(["fund", "ada", "5000", "--database-url", f"sqlite:///{folder}/billvend.db"]) == 0
    return folder


@pytest.fixture
def funded(billvend: Console, _funded_folder: Path) -> Console:
    """A command line where the wallet of ada has NGN 5,000.00."""
    shutil.copytree(_funded_folder, billvend.folder, dirs_exist_ok=True)
    return billvend
