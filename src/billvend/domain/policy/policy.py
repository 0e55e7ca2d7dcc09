"""The configuration that decisions about a payment depend on: provider accounts and intervals."""

from dataclasses import dataclass

from billvend.domain.payment.state import Attempt, Payment
from billvend.domain.policy.accounts import ProviderAccount


@dataclass(frozen=True, slots=True)
class Policy:
    """What decisions depend on besides the payment: the provider accounts, and the intervals in seconds."""

    accounts: tuple[ProviderAccount, ...]
    """The configured accounts, in order of preference."""
    requery_schedule_seconds: tuple[float, ...] = (20, 60, 120, 300, 600, 1200, 2400, 3600)
    not_found_spacing_seconds: float = 60
    review_after_seconds: float = 7200
    pending_limit_seconds: float = 86400
    lease_seconds: float = 60
    timeout_seconds: float = 30
    suspended: frozenset[tuple[str, str]] = frozenset()
    """The (provider, account id) pairs at which sales are suspended."""
    not_found_ignored: frozenset[tuple[str, str]] = frozenset()
    """The pairs whose "not found" proves nothing at present, because too many payments got it."""

    @property
    def min_requery_interval_seconds(self) -> float:
        """The shortest time between two requeries of one payment, unless an operator requests one."""
        return self.requery_schedule_seconds[0]

    def is_selling(self, account: ProviderAccount) -> bool:
        """Whether sales at this account are not suspended."""
        return account.key not in self.suspended

    def account_of(self, attempt: Attempt) -> ProviderAccount | None:
        """The account that an attempt was sent to, if it is still configured."""
        sent_to = (attempt.provider, attempt.account_id)
        return next((account for account in self.accounts if account.key == sent_to), None)

    def next_account(self, payment: Payment) -> ProviderAccount | None:
        """The first account that sells this now, accepts the amount, and whose provider has not been tried."""
        tried = {attempt.provider for attempt in payment.attempts if attempt.was_sent}
        fitting = (
            account
            for account in self.accounts
            if account.provider not in tried
            and self.is_selling(account)
            and account.supports(payment.biller, payment.vend_type)
            and account.accepts_amount(payment.amount)
        )
        return next(fitting, None)
