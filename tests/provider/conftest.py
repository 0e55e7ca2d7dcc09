from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provider.sandbox_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A sandbox with a book of its own."""
    rig = Rig(tmp_path / "sandbox.db")
    yield rig
    rig.provider.close()
