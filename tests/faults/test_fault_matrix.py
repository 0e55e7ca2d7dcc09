"""The fault matrix: every fault of `cells` at every moment, over real HTTP. Checks billvend and the sandbox.

Rewrite the table of docs/fault-matrix.md with

python -m tests.faults.test_fault_matrix
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest

from billvend import Status
from tests.faults.cells import FOREIGN_TOKEN, MATRIX, Cell, Row
from tests.faults.environment import NOON, SHORT_TIMEOUT_SECONDS, TIMEOUT_SECONDS, Env, ProviderEnv
from tests.faults.fault_proxy import REQUERY, SEND

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
FIRST, REJECTED, DEFERRED, ON_REQUERY = (
    "first send",
    "second send, rejected",
    "second send, deferred",
    "requery",
)


COLUMNS = {
    "vtpass": (FIRST, REJECTED, DEFERRED, ON_REQUERY),
    "buypower": (FIRST, ON_REQUERY),  # what a second send proves does not depend on the dialect
}


def cells() -> Iterator[object]:
    for row in MATRIX:
        cell = {FIRST: row.first, REJECTED: row.second, DEFERRED: row.second, ON_REQUERY: row.requery}
        for dialect in row.dialects:
            for when in COLUMNS[dialect]:
                if isinstance(cell[when], Cell):
                    yield pytest.param(row, dialect, when, cell[when], id=f"{row.fault}-{when}-{dialect}")


class EnvCache:
    """An environment for each row and dialect. All cells of the row share it, because opening one is slow."""

    def __init__(self, provider_env: ProviderEnv, folder: Path) -> None:
        self._provider_env = provider_env
        self._folder = folder
        self._days = (NOON + timedelta(days=30 * number) for number in count())
        self._open: tuple[Row, Env] | None = None

    def env(self, row: Row, dialect: str) -> Env:
        """The environment of the row, on a day that no other cell used."""
        self._provider_env.reset(next(self._days))
        if self._open is None or self._open[0] is not row or self._open[1].dialect != dialect:
            self.close()
            folder = self._folder / str(self._provider_env.clock.new_id())
            folder.mkdir()
            timeout_seconds = SHORT_TIMEOUT_SECONDS if row.times_out else TIMEOUT_SECONDS
            self._open = row, Env(self._provider_env, folder, dialect, bill_provider_timeout=timeout_seconds)
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].bv.close()


@pytest.fixture(scope="module")
def env_cache(
    shared_provider_env: ProviderEnv, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EnvCache]:
    with closing(EnvCache(shared_provider_env, tmp_path_factory.mktemp("env_cache"))) as env_cache:
        yield env_cache


@pytest.mark.parametrize(("row", "dialect", "when", "cell"), list(cells()))
def test_fault_ends_as_documented(env_cache: EnvCache, row: Row, dialect: str, when: str, cell: Cell) -> None:
    env, user = env_cache.env(row, dialect), f"ada-{when.replace(' ', '-').replace(',', '')}"
    if row.sandbox_fault == "low_float":
        env.bv.refresh_account_status()  # the cell before suspended the account
    if row.send_fault is FOREIGN_TOKEN:
        env.proxy.plan(SEND, FOREIGN_TOKEN)
        assert env.settle(env.accept(f"eve{user}")).token == "0" * 20
    hint = env.accept(user)
    if when == REJECTED:
        with env.proxy.refuse_connections():
            env.settle(hint)
    if when == DEFERRED:
        env.provider_env.plan("likely_duplicate")
        env.settle(hint)
    before = env.proxy.count(SEND)
    env.provider_env.plan(
        row.sandbox_fault, **({"minimum_minor": 100_000} if row.sandbox_fault == "minimum" else {})
    )
    env.proxy.plan(SEND, row.lost_send_fault if when == ON_REQUERY else row.send_fault)
    requeries_before = env.proxy.count(REQUERY)
    if when == ON_REQUERY and row.requery_fault:
        env.proxy.plan(REQUERY, row.requery_fault)
    (env.settle if when in (FIRST, ON_REQUERY) else env.step)(hint)
    env.proxy.wait_for_webhooks(row.webhooks)
    if row.taken_back:
        take_back(env, env.payment(hint).attempts[-1].reference)
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    entry = env.sandbox_entry(hint)
    result = Cell(
        status=payment.status.value,
        proof=payment.proof and payment.proof.value,
        sandbox_status=entry.status.value if entry else "nothing",
        available=str(env.bv.balance(user).available),
        incidents=tuple(incident.kind.value for incident in payment.incidents),
        sends=env.proxy.count(SEND) - before,
        was_in_doubt=None if cell.was_in_doubt is None else payment.in_doubt_since is not None,
    )
    assert result == cell
    if when == ON_REQUERY and row.requery_fault not in (None, FOREIGN_TOKEN):
        assert env.proxy.count(REQUERY) - requeries_before > 1, (
            "the answer to the faulty requery was believed"
        )
    if payment.status is Status.COMPLETED and "token_of_another" not in cell.incidents:
        assert entry is not None
        assert payment.token == entry.token


def take_back(env: Env, reference: str) -> None:
    """Take a sale back at the sandbox. VTpass reports it by webhook."""
    url = f"{env.provider_env.sandbox.control_url}/take-back"
    assert httpx.post(url, json={"reference": reference}, trust_env=False).status_code == 200
    if env.dialect == "vtpass":
        env.proxy.wait_for_webhooks(1)


# --- the documentation ------------------------------------------------------------------------------------------------


def table() -> list[str]:
    lines = [f"| fault | {FIRST} | second send | {ON_REQUERY} |", "| --- | --- | --- | --- |"]
    for row in MATRIX:
        descriptions = (
            cell.description if isinstance(cell, Cell) else f"({cell})"
            for cell in (row.first, row.second, row.requery)
        )
        lines.append(f"| {row.fault} | {' | '.join(descriptions)} |")
    return lines


def test_docs_have_this_table() -> None:
    assert [line for line in PAGE.read_text().splitlines() if line.startswith("|")] == table()


if __name__ == "__main__":
    lines_of_page = PAGE.read_text().splitlines()
    at = next(number for number, line in enumerate(lines_of_page) if line.startswith("|"))
    rest = [line for line in lines_of_page[at:] if not line.startswith("|")]
    PAGE.write_text("\n".join([*lines_of_page[:at], *table(), *rest, ""]))
