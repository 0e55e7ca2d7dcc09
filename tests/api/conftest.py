"""The API over books of its own: asked as a client would, without a socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from billvend import Billvend, open_billvend
from billvend.config import Settings
from tests.api.client import Client, application


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path / 'shop.db'}", rate_limit="0")


@pytest.fixture
def bv(settings: Settings) -> Iterator[Billvend]:
    with open_billvend(settings) as bv:
        yield bv


@pytest.fixture
def client(bv: Billvend, settings: Settings) -> Client:
    """On this machine, with NGN 5,000.00 in the wallet of ada."""
    bv.fund("ada", "5000")
    return Client(application(bv, settings))
