"""One town for all."""

from collections.abc import Iterator

import pytest

from tests.matrix.shop import Town, building


@pytest.fixture(scope="session")
def whole_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with building(tmp_path_factory.mktemp("town")) as town:
        yield town


@pytest.fixture
def town(whole_town: Town) -> Iterator[Town]:
    """Everything goes well there until a test plans otherwise; it is noon."""
    whole_town.reset()
    yield whole_town
    whole_town.reset()
