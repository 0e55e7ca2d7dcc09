"""The library: everything that billvend does, as methods of one object."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType

from billvend.domain.decisions.commands import Pay
from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import AmountLike
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Biller
from billvend.operations import Operations
from billvend.ports.queries import RawEvent, Search, Transaction, TransactionRecord
from billvend.usecases.deposits import DepositCheck
from billvend.usecases.fund import FundingResult
from billvend.usecases.pay import Bill, PaymentResult
from billvend.usecases.queries import Balance
from billvend.usecases.start_deposit import DepositResult


class Billvend(Operations):
    """One billvend, connected to its database, queue and providers. `open_billvend` returns one.

    It may be used from several threads at once. Every method may raise `Unavailable` if the database is unavailable and
    nothing was done. `fund` and `pay` may raise `OutcomeUnknown`: it is safe to repeat them with the same key.
    """

    # --- money --------------------------------------------------------------------------------------------------------

    def fund(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        currency: str | None = None,
        key: str | None = None,
        source: str = "manual",
    ) -> FundingResult:
        """Add money to a wallet, in major units (naira). Creates the wallet if it is new.

        Two calls with the same `key` add the money once. Raises `InvalidAmount` (also a `TypeError` for a float),
        `UnsupportedCurrency`, `ValidationFailed`; `IdempotencyMismatch` if the key was used for something else.
        """
        return self.use_cases.fundings.fund(user_id, amount, currency=currency, key=key, source=source)

    def create_deposit(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        email: str,
        currency: str | None = None,
        key: str | None = None,
        email_may_get_tokens: bool = True,
    ) -> DepositResult:
        """Create a deposit at Paystack. The customer pays at its `authorization_url`, and then the wallet is credited.

        If the user has no e-mail address, `email` becomes it at the credit, and tokens are mailed there. Use
        `email_may_get_tokens=False` for a caller who may not read tokens. Then `email` gets only the receipt of this
        deposit.

        With a `key`, the same request returns the same URL each time. Raises `InvalidInput` and its subclasses,
        `IdempotencyMismatch`, `RequestInProgress`, `Unavailable`; `ConfigurationError` if no gateway is configured.
        """
        return self.use_cases.deposit_start.start(
            user_id,
            amount,
            email=email,
            currency=currency,
            key=key,
            email_may_get_tokens=email_may_get_tokens,
        )

    def check_deposit(self, reference: str) -> DepositCheck:
        """Query the gateway for a deposit, and credit it if it was paid, once for ever.

        Raises `ResourceNotFound`, `Unavailable`, `OutcomeUnknown`; `ConfigurationError` if no gateway is configured.
        """
        return self.use_cases.deposit_checks.check(reference)

    def deposits(self, limit: int = 20) -> list[DepositCheck]:
        """The newest deposits of all users, newest first, as the ledger has them. Raises `Unavailable`."""
        return self.use_cases.deposit_checks.newest(limit)

    def pay(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        meter: str,
        biller: str,
        vend_type: str = "prepaid",
        phone: str | None = None,
        key: str | None = None,
        allow_duplicate: bool = False,
    ) -> Payment:
        """Accept a bill. The money is held when this returns. A worker, or `wait`, then buys the electricity.

        Two calls with the same `key` pay once, and the second returns the payment in its current state. Without a key,
        the same bill within 30 seconds is rejected as a likely double click, unless `allow_duplicate` is true. Raises,
        in this order: `InvalidInput` and its subclasses, `IdempotencyMismatch`, `WalletNotFound`, `LikelyDuplicate`,
        `InsufficientFunds`, `ProviderUnavailable`, and the meter's errors (`MeterNotFound`, `WrongMeterType`,
        `MeterCannotVend`, `BelowMinimum`). `pay_many` does not check meters: there a worker does so before it sends.
        """
        return self.accept(
            Bill(user_id, amount, meter, biller, vend_type, phone, key, allow_duplicate)
        ).payment

    def accept(self, bill: Bill) -> PaymentResult:
        """Like `pay`. The result also says whether an earlier call with the key made the payment."""
        return self.use_cases.payments.pay(bill)

    def pay_many(self, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
        """Accept many bills, 500 in a transaction. Each gets its payment or its error, in order.

        A rejected bill does not stop the others. With keys it is safe to repeat: it does only what is missing. A command
        from `build_command` is used as it is.
        """
        return self.use_cases.payments.pay_many(bills)

    def build_command(self, bill: Bill) -> Pay:
        """Validate a bill, and build its command. Nothing is sent or stored. Raises `InvalidInput` and its subclasses."""
        return self.use_cases.payments.build_command(bill)

    def preview(self, bills: Sequence[Pay]) -> list[bool | BillvendError]:
        """Which commands of `build_command` were done before, or why their key is not accepted. Nothing is done."""
        return self.use_cases.payments.preview(bills)

    def cancel(self, transaction_id: str) -> Payment:
        """Reverse a payment that was never sent. Raises `TransactionNotFound`, `AlreadySent`."""
        return self.use_cases.payments.cancel(transaction_id)

    def wait(
        self,
        payment: Payment | str,
        timeout: float = 60.0,
        *,
        on_poll: Callable[[Payment], None] | None = None,
    ) -> Payment:
        """Settle a payment, given as such or by its transaction id, as a worker would.

        Returns it when it has ended, or as it is after `timeout` seconds.

        Calls `on_poll` with the payment each time it was read. Raises `TransactionNotFound`, `ValidationFailed`.
        """
        return self.use_cases.settlement.wait(payment, timeout, on_poll)

    def refresh(self, transaction_id: str) -> Transaction:
        """Requery a payment now, before it is due. Returns the transaction in its state after that.

        A payment that was never sent does not change. A payment that has ended keeps its final status, and a
        contradicting answer becomes an incident. Raises `TransactionNotFound`.
        """
        transaction = self.transaction(transaction_id)
        if isinstance(transaction, Payment):
            self.use_cases.requeries.requery_now(transaction)
        return self.transaction(transaction_id)

    def request_requery(self, payment: Payment) -> None:
        """Make the next requery of a payment due earlier, because a customer waits. At most once an interval."""
        self.use_cases.requeries.request_for_customer(payment)

    # --- queries ------------------------------------------------------------------------------------------------------

    def balance(self, user_id: str, *, currency: str | None = None) -> Balance:
        """The available and the held balance. Raises `WalletNotFound`."""
        return self.use_cases.lookups.balance(user_id, currency)

    def history(self, user_id: str, *, limit: int = 20) -> list[Transaction]:
        """The fundings and payments of a user, newest first."""
        return [found.transaction for found in self.search(Search(user_id=user_id, limit=limit))]

    def transaction(self, transaction_id: str) -> Transaction:
        """A payment or funding by its id. Raises `TransactionNotFound`."""
        return self.use_cases.lookups.find(transaction_id).transaction

    def record(self, transaction_id: str) -> TransactionRecord:
        """A payment or funding by its id, with its events and its next check. Raises `TransactionNotFound`."""
        return self.use_cases.lookups.find(transaction_id)

    def events(self, payment: Payment) -> Sequence[RawEvent]:
        """The events of a payment, in order."""
        return self.record(payment.transaction_id).events

    def search(self, criteria: Search) -> list[TransactionRecord]:
        """Transactions of any user, newest first."""
        return self.use_cases.lookups.search(criteria)

    def payments(self, *statuses: Status, limit: int = 100) -> list[Payment]:
        """Payments in these statuses (in all, if none is given), newest first."""
        parsed_statuses = tuple(Status(status) for status in statuses)
        records = self.search(Search(kind="payment", statuses=parsed_statuses, limit=limit))
        return [found.transaction for found in records if isinstance(found.transaction, Payment)]

    def next_check_at(self, payment: Payment) -> datetime | None:
        """When a payment is next due for a worker; None if it has ended."""
        return self.use_cases.settlement.next_check_at(payment)

    def meter(self, meter: str, *, biller: str, vend_type: str = "prepaid") -> MeterFound:
        """The customer of a meter and the smallest amount that it takes, from the provider.

        Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
        `ProviderUnavailable` if no provider answers.
        """
        return self.use_cases.meters.lookup(meter, biller, vend_type)

    def billers(self) -> Sequence[Biller]:
        """The electricity companies that the configured providers sell for."""
        return self.use_cases.lookups.billers()

    @property
    def currency(self) -> str:
        """The default currency of wallets, and the currency in which the providers sell."""
        return self._deps.default_currency

    # --- lifetime -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close connections and files."""
        self._deps.close()

    def __enter__(self) -> "Billvend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
