from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provider.sandbox_harness import SandboxHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[SandboxHarness]:
    """A sandbox with its own store."""
    harness = SandboxHarness(tmp_path / "sandbox.db")
    yield harness
    harness.provider.close()
