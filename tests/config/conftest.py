"""The fixture of the tests of settings."""

from pathlib import Path

import pytest

from tests.config.harness import Workspace


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(monkeypatch, tmp_path)
