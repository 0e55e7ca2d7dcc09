"""Requery: an operator, a customer or a webhook asks for an earlier requery of a payment."""

from collections.abc import Mapping
from dataclasses import dataclass

from billvend.domain.decisions import operator
from billvend.domain.decisions.commands import RequestRequery
from billvend.domain.decisions.operator import OPERATOR
from billvend.domain.enums import Status
from billvend.domain.payment.state import Payment
from billvend.ports.provider import Provider
from billvend.ports.queries import Search
from billvend.ports.queue import Hint
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.ledger import Ledger
from billvend.usecases.settle import Settlement

CUSTOMER, WEBHOOK = "customer", "webhook"
"""The sources of a request besides an operator."""
MAX_PAYMENTS_PER_REFERENCE = 10


@dataclass(frozen=True, slots=True)
class Requeries:
    """Requests requeries of payments. The content of a webhook is never believed."""

    ledger: Ledger
    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account)."""
    accounts: ProviderAccounts
    settlement: Settlement

    def requery_now(self, payment: Payment) -> None:
        """Requery a payment for an operator, before it is due; see `Billvend.refresh`."""
        if not payment.attempts:
            return
        self._request(payment, OPERATOR)
        hint = Hint(payment.user_id, payment.transaction_id)
        if self.settlement.settle(hint).status is Status.REVERSING:
            self.settlement.settle(hint)  # the answer is a proof: the money goes back

    def request_for_customer(self, payment: Payment) -> None:
        """Make the next requery of an open payment due earlier. At most once an interval. Raises `Unavailable`."""
        if not payment.has_ended:
            self._request(payment, CUSTOMER)

    def handle_webhook(self, provider: str, body: bytes) -> int:
        """Request a requery of the payments that a webhook names; see `Billvend.handle_provider_webhook`."""
        accounts = [account for (name, _), account in self.providers.items() if name == provider]
        references = {reference for account in accounts for reference in account.parse_references(body)}
        requests = 0
        for reference in references:
            search = Search(kind="payment", reference=reference, limit=MAX_PAYMENTS_PER_REFERENCE)
            for found in self.ledger.queries.search(search):
                if isinstance(found.transaction, Payment):
                    self._request(found.transaction, WEBHOOK, reference)
                    requests += 1
        return requests

    def _request(self, payment: Payment, source: str, reference: str | None = None) -> None:
        """Make the next requery of a payment due earlier; see `RequestRequery`. Raises `Unavailable`."""
        clock = self.ledger.clock
        command = RequestRequery(
            payment.user_id, clock.new_id(), payment.transaction_id, clock.now(),
            self.accounts.current_policy(), source, reference,
        )  # fmt: skip
        if source == CUSTOMER and operator.requested_attempt(payment, command) is None:
            return  # an earlier request is still open, or nothing was sent: a customer who polls costs no write
        hint = Hint(payment.user_id, payment.transaction_id)
        self.ledger.enqueue_if_due(hint, self.ledger.execute(command).result)
