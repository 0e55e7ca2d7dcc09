"""The API over a new database. Requests go through Flask's test client, without a socket."""

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
    """A client on this machine. The wallet of ada has NGN 5,000.00."""
    bv.fund("ada", "5000")
    return Client(application(bv, settings))
