"""The public interface and the stored data match the files in this folder."""

import difflib
import os
from pathlib import Path

import pytest

from tests.golden.snapshots import HERE, SNAPSHOTS, ddl_postgresql

pytestmark = pytest.mark.long

RENEW = "BILLVEND_GOLDEN_RENEW"
"""Set by `python -m tests.golden`."""
POSTGRESQL = pytest.param("ddl_postgresql.txt", marks=pytest.mark.integration)


@pytest.mark.parametrize("name", [*SNAPSHOTS, POSTGRESQL])
def test_public_interface_matches_snapshot(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder without a .env
    make = SNAPSHOTS.get(name) or (lambda: ddl_postgresql(request.getfixturevalue("postgres_url")))
    now, file = make(), HERE / name
    if os.environ.get(RENEW):
        file.write_text(now, "utf-8")
    before = file.read_text("utf-8")
    if now != before:
        diff = difflib.unified_diff(
            before.splitlines(), now.splitlines(), f"before/{name}", f"now/{name}", lineterm=""
        )
        pytest.fail("\n".join([*diff, "", "If that is meant: python -m tests.golden"]), pytrace=False)
