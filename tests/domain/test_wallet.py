"""A wallet holds the available balance, which is never negative."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.errors import InsufficientFunds, InvalidTransition
from billvend.domain.journal.events import StreamKey, WalletEvent, WalletFunded, WalletHeld, WalletReleased
from billvend.domain.ledger.wallet import Wallet, evolve, hold, new_wallet, wallet_stream
from billvend.domain.money import CurrencyMismatch, Money


def naira(kobo: int) -> Money:
    return Money(kobo, "NGN")


def wallet_of(kobo: int) -> Wallet:
    return Wallet("ada", naira(kobo))


def test_new_wallet_is_empty_and_has_its_own_stream() -> None:
    assert new_wallet("ada", "NGN") == wallet_of(0)
    assert (
        new_wallet("ada", "NGN").stream_key == wallet_stream("ada", "NGN") == StreamKey("ada", "wallet:NGN")
    )
    assert wallet_stream("ada", "KES") != wallet_stream("ada", "NGN") != wallet_stream("bob", "NGN")


@pytest.mark.parametrize(
    ("event", "balance"),
    [
        (WalletFunded("t1", 500, "manual", "till-7"), 1500),
        (WalletHeld("t1", 300), 700),
        (WalletHeld("t1", 1000), 0),
        (WalletReleased("t1", 300), 1300),
    ],
)
def test_event_changes_the_balance(event: WalletEvent, balance: int) -> None:
    assert evolve(wallet_of(1000), event) == wallet_of(balance)


def test_balance_never_falls_below_zero() -> None:
    with pytest.raises(InvalidTransition, match="ada"):
        evolve(wallet_of(1000), WalletHeld("t1", 1001))


def test_hold_may_take_the_whole_balance_and_no_more() -> None:
    assert hold(wallet_of(1000), "t1", naira(1000)) == WalletHeld("t1", 1000)
    with pytest.raises(InsufficientFunds, match=r"NGN 10\.00, .* NGN 10\.01\. Nothing was held\."):
        hold(wallet_of(1000), "t1", naira(1001))
    with pytest.raises(CurrencyMismatch):
        hold(wallet_of(1000), "t1", Money(1, "KES"))


@given(st.lists(st.tuples(st.sampled_from([WalletHeld, WalletReleased]), st.integers(1, 500))))
def test_balance_equals_releases_minus_holds(
    moves: Sequence[tuple[type[WalletHeld | WalletReleased], int]],
) -> None:
    wallet, expected = wallet_of(1000), 1000
    for kind, amount in moves:
        if kind is WalletHeld and amount > expected:
            with pytest.raises(InsufficientFunds):
                hold(wallet, "t1", naira(amount))
            continue
        wallet = evolve(
            wallet, hold(wallet, "t1", naira(amount)) if kind is WalletHeld else kind("t1", amount)
        )
        expected += amount if kind is WalletReleased else -amount
    assert wallet.balance == naira(expected)
