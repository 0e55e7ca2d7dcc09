"""One provider environment for all fault tests."""

from collections.abc import Iterator

import pytest

from tests.faults.environment import ProviderEnv, run_provider_env


@pytest.fixture(scope="session")
def shared_provider_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderEnv]:
    with run_provider_env(tmp_path_factory.mktemp("provider_env")) as provider_env:
        yield provider_env


@pytest.fixture
def provider_env(shared_provider_env: ProviderEnv) -> Iterator[ProviderEnv]:
    """The shared environment at noon, without planned faults."""
    shared_provider_env.reset()
    yield shared_provider_env
    shared_provider_env.reset()
