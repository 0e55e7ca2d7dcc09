"""The part of the conformance suite about the account, closing and webhooks."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from billvend.domain.money import decimals
from billvend.domain.policy.accounts import Mode
from billvend.testing.fault_server import http_response, send_and_keep_open
from billvend.testing.harness import UNUSED_URL, ConformanceHarness, ask, expect, expect_no_exception
from billvend.testing.server_faults import UNEXPECTED_BODIES, corrupt

MAX_REFERENCE_CHARACTERS: Final = 100


class AccountConformance(ConformanceHarness):
    """What an adapter says about its account, and what it does without a sale."""

    # --- account ---

    def test_provider_account_is_complete_and_stable(self) -> None:
        """The account is complete and always the same. Its processing time is not shorter than configured."""
        patient = replace(self.setup(UNUSED_URL), max_processing_seconds=7777)
        with self._provider(patient) as provider:
            account, again = provider.account, provider.account
            codes = [biller.code for biller in account.billers]
            expect(account.provider == self.name, f"its name is {account.provider!r}, not {self.name!r}")
            expect(account.mode in Mode, f"its mode is {account.mode!r}")
            expect(bool(codes), "it sells for no electricity company")
            expect(len(codes) == len(set(codes)), f"it lists an electricity company twice: {codes}")
            expect(
                all(biller.code and biller.name and biller.vend_types for biller in account.billers),
                "an electricity company has no code, no name or nothing to sell",
            )
            decimals(account.currency)
            is_offset = abs(account.utc_offset) <= timedelta(hours=14)
            expect(is_offset, "its offset from UTC is more than 14 hours")
            is_patient = account.max_processing_seconds >= 7777
            expect(is_patient, "max_processing_seconds is shorter than the setting")
            is_stable = (account.account_id, account.billers) == (again.account_id, again.billers)
            expect(is_stable, "its account changes between two reads")

    def test_account_fingerprint_is_unique_and_hides_keys(self) -> None:
        """The fingerprint is unique for host and key, stable, and contains no key."""
        setup = self.setup(UNUSED_URL)
        other_keys = replace(
            setup,
            api_key=f"another-{setup.api_key}",
            public_key=setup.public_key and f"another-{setup.public_key}",
            secret_key=setup.secret_key and f"another-{setup.secret_key}",
        )
        with (
            self._provider(setup) as one,
            self._provider(setup) as same,
            self._provider(replace(setup, api_url="http://localhost:9")) as elsewhere,
            self._provider(other_keys) as another,
        ):
            account = one.account.account_id
            expect(bool(account) and account.isprintable(), f"the account is {account!r}")
            expect(account == same.account.account_id, "the same account has two fingerprints")
            expect(account != elsewhere.account.account_id, "accounts on two hosts have one fingerprint")
            expect(account != another.account.account_id, "accounts with two keys have one fingerprint")
            self._expect_no_secret(one.account, "the account")

    def test_references_are_deterministic_short_and_unique(self) -> None:
        """The reference is a pure function of payment, attempt and day."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            account = provider.account
            day = date(2026, 6, 15)
            payments = (
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6a",
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6b",
                "p",
                "p1",
            )
            arguments = [(payment, attempt, day) for payment in payments for attempt in (1, 2, 11)]
            made = [account.make_reference(*which) for which in arguments]
            with self._provider(self.setup(UNUSED_URL)) as other:
                again = [other.account.make_reference(*which) for which in arguments]
            expect(
                made == again,
                "it is not deterministic: a restored ledger would derive another reference and buy twice",
            )
            expect(len(set(made)) == len(made), "two attempts share a reference")
            for reference in made:
                expect(
                    0 < len(reference) <= MAX_REFERENCE_CHARACTERS
                    and reference.isascii()
                    and reference.isprintable()
                    and " " not in reference,
                    f"a reference is up to {MAX_REFERENCE_CHARACTERS} printable ASCII characters: {reference!r}",
                )
            if account.reference_lasts_a_day:
                tomorrow = account.make_reference(payments[0], 1, day + timedelta(days=1))
                expect(tomorrow != made[0], "a reference that lasts a day is the same on the next day")

    # --- close, webhooks ---

    def test_close_is_idempotent_and_frees_connections(self) -> None:
        """`close` may be called twice. It leaves no connection open."""
        with self._provider_against(send_and_keep_open(http_response(b"{}"))) as (provider, server):
            ask(provider, "requery", self.order(provider))
            for _ in range(2):
                with expect_no_exception("close"):
                    provider.close()
            expect(server.has_no_connections(self.slack_seconds), "a connection is open after close")

    def test_unknown_webhook_yields_no_references(self) -> None:
        """Anyone may post any body as a webhook. `parse_references` never raises, and finds none in a foreign body."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            delivery = self.delivery_body(self.order(provider), f"{1:020d}")
            for body in (*UNEXPECTED_BODIES, *corrupt(delivery)):
                with expect_no_exception(f"parse_references({body[:300]!r})"):
                    references: object = provider.parse_references(body)
                expect(
                    isinstance(references, tuple)
                    and all(isinstance(reference, str) for reference in references),
                    f"parse_references({body[:300]!r}) gave {references!r}",
                )
                expect(
                    not references or body not in UNEXPECTED_BODIES,
                    f"it found {references!r} in {body[:300]!r}",
                )
