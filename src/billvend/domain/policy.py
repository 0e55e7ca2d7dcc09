"""What the decisions about a payment reason with besides the payment: the configured accounts, and the intervals."""

from dataclasses import dataclass

from billvend.domain.abilities import Abilities
from billvend.domain.payment import Attempt, Payment


@dataclass(frozen=True, slots=True)
class Policy:
    """What the policy reasons with besides the payment: the configured accounts and intervals, all in seconds."""

    routes: tuple[Abilities, ...]
    """The configured provider accounts, in order of preference."""
    requery_schedule_seconds: tuple[float, ...] = (20, 60, 120, 300, 600, 1200, 2400, 3600)
    not_found_spacing_seconds: float = 60
    review_after_seconds: float = 7200
    pending_limit_seconds: float = 86400
    lease_seconds: float = 60
    timeout_seconds: float = 30
    closed: frozenset[tuple[str, str]] = frozenset()
    """The (provider, account)s at which nothing is sold at present."""
    distrusted: frozenset[tuple[str, str]] = frozenset()
    """Those of them whose "not found" is not believed at present, because it is said of too many."""

    @property
    def interval_seconds(self) -> float:
        """The shortest time between two requeries of one payment, unless an operator asks."""
        return self.requery_schedule_seconds[0]

    def may_send(self, route: Abilities) -> bool:
        """Whether anything is sold there at present."""
        return (route.provider, route.account) not in self.closed

    def route(self, attempt: Attempt) -> Abilities | None:
        """The account an attempt was sent to, if it is still configured."""
        wanted = (attempt.provider, attempt.account)
        return next((route for route in self.routes if (route.provider, route.account) == wanted), None)

    def untried(self, payment: Payment) -> Abilities | None:
        """The first configured provider that sells this now, takes the amount and has not been tried."""
        tried = {attempt.provider for attempt in payment.attempts if attempt.was_made}
        return next(
            (
                route
                for route in self.routes
                if route.provider not in tried
                and self.may_send(route)
                and route.sells(payment.biller, payment.vend_type)
                and route.takes(payment.amount)
            ),
            None,
        )
