"""Pay: hold the money for a bill, commit, and queue a hint for the workers. Cancel: release it before anything is sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from billvend.domain.decisions.commands import Cancel, Executed, Pay
from billvend.domain.decisions.customer import hold
from billvend.domain.decisions.decider import CommandOutcome, replay_of
from billvend.domain.enums import VendType
from billvend.domain.errors import (
    BillvendError,
    InvalidAmount,
    ProviderUnavailable,
    TransactionNotFound,
    UnknownBiller,
    ValidationFailed,
)
from billvend.domain.ids import parse_key, parse_meter, parse_phone, parse_user_id, parse_vend_type
from billvend.domain.journal.events import StreamKey
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import AmountLike, parse_amount
from billvend.domain.payment.state import Payment
from billvend.domain.safe_text import safe_repr
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.ledger import Ledger
from billvend.usecases.limits import Limits
from billvend.usecases.meters import Meters

MAX_BILLS_PER_TRANSACTION = 500
"""Bills in one transaction, at most."""


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill to pay, not validated yet."""

    user_id: str
    amount: AmountLike
    meter: str
    biller: str
    vend_type: str = VendType.PREPAID.value
    phone: str | None = None
    key: str | None = None
    allow_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class PaymentResult:
    """An accepted payment in its current state."""

    payment: Payment
    replayed: bool
    """True if an earlier call with the key made the payment. This call did nothing."""
    meter: MeterFound | None = None
    """The meter's customer, if the meter was checked."""


@dataclass(frozen=True, slots=True)
class Payments:
    """Accepts bills, and cancels payments that were never sent."""

    ledger: Ledger
    accounts: ProviderAccounts
    meters: Meters
    limits: Limits
    default_currency: str

    def pay(self, bill: Bill) -> PaymentResult:
        """Accept a bill: hold its money. A worker then buys the electricity.

        Raises, in this order: `InvalidInput`; `IdempotencyMismatch`; `WalletNotFound`; `LikelyDuplicate`;
        `InsufficientFunds`; `ProviderUnavailable`; the meter's errors (`MeterNotFound` and others, see `Meters.lookup`).
        Also `Unavailable` if nothing was done, and `OutcomeUnknown`: repeat it with its key.
        """
        command, meter = self.build_command(bill), None
        self.accounts.refresh_if_stale()
        if self.meters.check.is_enabled or self.accounts.current_policy().suspended:
            command, meter = self._check_before_hold(command)
        (result,) = self._accept([command])
        if isinstance(result, BillvendError):
            raise result
        return result if result.replayed else replace(result, meter=meter)

    def pay_many(self, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
        """Accept bills, up to 500 in one transaction. Each gets its payment or its error, in order.

        Raises no `BillvendError`. If the database becomes unavailable, accepted payments remain, and each other bill gets
        `Unavailable` or `OutcomeUnknown`. A repeat with the same keys does only what is missing. A `Pay` command from
        `build_command` is used as it is.
        """
        results: list[PaymentResult | BillvendError] = []
        remaining = iter(bills)
        while chunk := list(islice(remaining, MAX_BILLS_PER_TRANSACTION)):
            parsed = [self._command_or_error(bill) for bill in chunk]
            payments = iter(self._accept([command for command in parsed if isinstance(command, Pay)]))
            results += [next(payments) if isinstance(item, Pay) else item for item in parsed]
        return results

    def preview(self, commands: Sequence[Pay]) -> list[bool | BillvendError]:
        """Which of these commands were done before, or why their key is not accepted. Nothing is done.

        Raises `Unavailable`. Neither the wallets nor the meters are checked.
        """
        stored = self.ledger.queries.stored_results([command.command_key for command in commands])
        previews: list[bool | BillvendError] = []
        for command in commands:
            try:
                previews.append(replay_of(stored.get(command.command_key), command) is not None)
            except BillvendError as error:
                previews.append(error)
        return previews

    def cancel(self, transaction_id: str) -> Payment:
        """Reverse a payment that was never sent, with the proof `not_sent`.

        Raises `TransactionNotFound`; `AlreadySent` if a request may have reached the provider; `Unavailable`.
        """
        payment, clock = self.ledger.payment(transaction_id), self.ledger.clock
        command = Cancel(payment.user_id, clock.new_id(), payment.transaction_id, clock.now())
        return self.ledger.execute(command).payment or payment

    def build_command(self, bill: Bill) -> Pay:
        """Validate a bill, and build its command. Nothing is sent or stored. Raises `InvalidInput`."""
        user_id, meter = parse_user_id(bill.user_id), parse_meter(bill.meter)
        caller_key = None if bill.key is None else parse_key(bill.key)
        vend_type, phone = parse_vend_type(bill.vend_type), parse_phone(bill.phone)
        accounts = [
            account
            for account in self.accounts.base_policy.accounts
            if account.supports(bill.biller, vend_type)
        ]
        currency = accounts[0].currency if accounts else self.default_currency
        amount = parse_amount(
            bill.amount,
            currency,
            minimum=self.limits.min_payment(currency),
            maximum=self.limits.max_amount(currency),
        )
        if not accounts:
            reason = f"no configured provider sells {vend_type} electricity for it"
            raise UnknownBiller(
                f"The biller {safe_repr(bill.biller)} is not accepted: {reason}. See: billvend billers",
                fields={"provider": reason},
            )
        if all(account.whole_units_only for account in accounts) and amount.major % 1:
            raise InvalidAmount(
                f"The amount {amount} is not accepted: electricity is sold in whole {currency} here.",
                fields={"amount": f"must be whole {currency}"},
            )
        if phone is None and all(account.needs_phone for account in accounts):
            reason = "is required: the provider needs one with every order"
            raise ValidationFailed(
                f"A phone number {reason}. Nothing was held: give one, or set BILL_PROVIDER_PHONE.",
                fields={"phone": reason},
            )
        transaction_id = self.ledger.clock.new_id()
        return Pay(
            user_id=user_id,
            key=caller_key or transaction_id,
            has_caller_key=caller_key is not None,
            transaction_id=transaction_id,
            at=self.ledger.clock.now(),
            amount=amount,
            meter=meter,
            biller=bill.biller,
            vend_type=vend_type,
            phone=phone,
            allow_duplicate=bill.allow_duplicate,
        )

    def _command_or_error(self, bill: Bill | Pay) -> Pay | BillvendError:
        try:
            return bill if isinstance(bill, Pay) else self.build_command(bill)
        except BillvendError as error:
            return error

    # --- before the hold ----------------------------------------------------------------------------------------------

    def _check_before_hold(self, command: Pay) -> tuple[Pay, MeterFound | None]:
        """Check that an account sells and that the meter is valid, for a payment that the ledger would accept."""
        if not self.accounts.current_policy().suspended and (cached := self.meters.cached(command)):
            return replace(command, verified=True), cached
        if self._is_replay(command):
            return command, None
        wallet, duplicate_paid_at = self.ledger.queries.wallet_and_duplicate(command)
        hold(wallet, command, duplicate_paid_at)  # raises if the ledger would reject it
        try:
            self._require_selling_account(command)
            meter = self.meters.require(command)
        except BillvendError:
            # Another call with this key may have been accepted meanwhile. Then this one must not be rejected.
            if self._is_replay(command):
                return command, None
            raise
        return replace(command, at=self.ledger.clock.now(), verified=meter is not None), meter

    def _is_replay(self, command: Pay) -> bool:
        """Whether the command was done before. Raises `IdempotencyMismatch`."""
        key = command.command_key
        return replay_of(self.ledger.queries.stored_results([key]).get(key), command) is not None

    def _require_selling_account(self, command: Pay) -> None:
        """Reject a payment if every account for it is suspended. Payments in bulk are accepted, and wait."""
        if self._is_suspended(command):
            self.accounts.refresh()  # the reason may have cleared, and perhaps no worker runs
            if self._is_suspended(command):
                raise ProviderUnavailable(
                    f"Electricity of {command.biller} is not on sale now. Nothing was held: try again later."
                )

    def _is_suspended(self, command: Pay) -> bool:
        """Whether accounts could sell this, and none of them sells now."""
        policy = self.accounts.current_policy()
        accounts = [
            account for account in policy.accounts
            if account.supports(command.biller, command.vend_type) and account.accepts_amount(command.amount)
        ]  # fmt: skip
        return bool(accounts) and not any(policy.is_selling(account) for account in accounts)

    # --- the hold -----------------------------------------------------------------------------------------------------

    def _accept(self, commands: Sequence[Pay]) -> list[PaymentResult | BillvendError]:
        """Execute the commands, and queue hints before anything else can fail. Raises nothing."""
        try:
            outcomes = self.ledger.execute_all(commands)
        except BillvendError as error:
            return [error for _ in commands]
        pairs = list(zip(commands, outcomes, strict=True))
        accepted = [
            Hint(command.user_id, command.transaction_id)
            for command, outcome in pairs
            if isinstance(outcome, Executed) and not outcome.replayed
        ]
        if accepted:
            self.ledger.queue.enqueue(QueueName.PAYMENTS, accepted, wait=False)
        replayed = [
            StreamKey(command.user_id, outcome.result.transaction_id)
            for command, outcome in pairs
            if isinstance(outcome, Executed) and outcome.replayed
        ]
        earlier: Mapping[StreamKey, Payment] | BillvendError
        try:
            earlier = self.ledger.queries.payments(replayed) if replayed else {}
        except BillvendError as error:
            earlier = error
        return [_payment_result(command, outcome, earlier) for command, outcome in pairs]


def _payment_result(
    command: Pay, outcome: CommandOutcome, earlier: Mapping[StreamKey, Payment] | BillvendError
) -> PaymentResult | BillvendError:
    if isinstance(outcome, BillvendError):
        return outcome
    if outcome.payment is not None:
        return PaymentResult(outcome.payment, replayed=False)
    if isinstance(earlier, BillvendError):
        return earlier
    payment = earlier.get(StreamKey(command.user_id, outcome.result.transaction_id))
    if payment is None:
        return TransactionNotFound(f"There is no payment {outcome.result.transaction_id}.")
    return PaymentResult(payment, replayed=True)
