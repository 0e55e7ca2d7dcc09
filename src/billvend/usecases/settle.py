"""Settle: carry out the next due step of a payment.

Claim (commit), call the provider with no transaction open, record the answer (commit), then queue a hint for the next
step. The claim excludes other workers. So a hint that comes twice, late or without work does no harm.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from billvend.domain.decisions.commands import Claim, CommandResult, Executed, ProviderCall, RecordAnswer
from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError, DependencyError, TransactionNotFound
from billvend.domain.meter_lookup import MeterFound, MeterLookupFailed, MeterRejected
from billvend.domain.outcome import Answer, Declined, Misconfigured, NotSent, Unknown, verify_answer
from billvend.domain.payment.state import Payment
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.account_status import configuration_fault_reason, current_policy, suspend
from billvend.usecases.activity_log import log_payment
from billvend.usecases.dependencies import Dependencies, execute_command
from billvend.usecases.environment import check_mode
from billvend.usecases.meters import amount_error, query_provider
from billvend.usecases.notifications import enqueue_payment_notification_hint

logger = logging.getLogger("billvend.settle")

RECORD_TIMEOUT_SECONDS = 120
"""How long an answer in hand waits for the database to come back."""
MAX_RETRY_PAUSE_SECONDS = 2.0


def settle(deps: Dependencies, hint: Hint) -> CommandResult:
    """Do what is due on one payment. Does nothing if nothing is due or another worker has a lease on it.

    Raises `TransactionNotFound`, `Unavailable`, `OutcomeUnknown`. A send before the error is found again when its lease
    expires.
    """
    check_mode(deps)
    claimed_at, claimed_at_seconds = deps.clock.now(), deps.clock.elapsed_seconds()
    policy = current_policy(deps)
    claim = Claim(hint.user_id, deps.clock.new_id(), hint.transaction_id, claimed_at, policy)
    result = execute_command(deps, claim)
    if result.payment is not None:
        log_payment(deps, result.payment, claimed_at)
        enqueue_payment_notification_hint(deps, result.payment, claimed_at)
    provider_call = result.result.provider_call
    if provider_call is None:
        enqueue_followup_hint(deps, hint, result.result)
        return result.result
    payment = result.payment or _load_payment(deps, hint)

    def may_send() -> bool:
        if provider_call.send_before is None:
            return True
        return (
            timedelta(seconds=deps.clock.elapsed_seconds() - claimed_at_seconds)
            < provider_call.send_before - claimed_at
        )

    called_at_seconds = deps.clock.elapsed_seconds()
    answer = _call_provider(deps, payment, provider_call, may_send)
    latency_seconds = deps.clock.elapsed_seconds() - called_at_seconds
    deps.metrics.answered(
        provider_call.provider, answer, latency_seconds, is_requery=provider_call.is_requery
    )
    command = RecordAnswer(
        hint.user_id, deps.clock.new_id(), hint.transaction_id, deps.clock.now(), policy,
        provider_call.attempt, provider_call.call_number, provider_call.is_requery, answer,
    )  # fmt: skip
    result = _record_answer(deps, command)
    if result.payment is not None:
        log_payment(deps, result.payment, command.at)
        enqueue_payment_notification_hint(deps, result.payment, command.at)
    if isinstance(answer, Misconfigured) and not provider_call.is_requery:
        _suspend_account(deps, provider_call, answer)
    enqueue_followup_hint(deps, hint, result.result)
    return result.result


def _suspend_account(deps: Dependencies, provider_call: ProviderCall, answer: Misconfigured) -> None:
    try:
        suspend(deps, provider_call.provider, provider_call.account_id, configuration_fault_reason(answer))
    except BillvendError:  # the next answer, or the account status loop, suspends it again
        logger.warning("The suspension of %s could not be stored", provider_call.provider)


def _record_answer(deps: Dependencies, command: RecordAnswer) -> Executed:
    """Record an answer. Retries, so that a restart of the database does not lose the answer.

    Raises `DependencyError` after `RECORD_TIMEOUT_SECONDS`. Then the lease expires, and a requery gets the answer again.
    """
    started_at_seconds, pause_seconds = deps.clock.elapsed_seconds(), 0.1
    while True:
        try:
            return execute_command(deps, command)
        except DependencyError:
            if deps.clock.elapsed_seconds() - started_at_seconds >= RECORD_TIMEOUT_SECONDS:
                raise
        deps.clock.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, MAX_RETRY_PAUSE_SECONDS)


def _call_provider(
    deps: Dependencies, payment: Payment, provider_call: ProviderCall, may_send: Callable[[], bool]
) -> Answer:
    provider = deps.providers.get((provider_call.provider, provider_call.account_id))
    if provider is None:
        return NotSent(
            f"the {provider_call.provider} account {provider_call.account_id} is not configured here"
        )
    order = Order(
        provider_call.reference,
        payment.meter,
        payment.biller,
        payment.vend_type,
        payment.amount,
        payment.phone,
    )
    if provider_call.verify_meter and (rejection := _meter_rejection(deps, provider, payment)) is not None:
        return rejection
    try:
        answer = provider.requery(order) if provider_call.is_requery else provider.vend(order, may_send)
        return verify_answer(
            answer, reference=order.reference, meter=order.meter, biller=order.biller,
            amount_minor=order.amount.amount_minor, needs_token=payment.needs_token,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001  an adapter's bug after the first byte must not lose the payment
        return Unknown(f"the adapter failed: {type(error).__name__}: {error}"[:200])


def _meter_rejection(deps: Dependencies, provider: Provider, payment: Payment) -> Answer | None:
    """Why nothing is sent to a meter that was accepted in bulk, without a check; None if the payment may be sent.

    Nothing was sent under the reference yet. So this answer to the send is proof.
    """
    if not deps.meter_check.is_enabled:
        return None
    match query_provider(deps, provider, payment.meter, payment.biller, payment.vend_type):
        case MeterRejected(fault, reason):
            return Declined(reason, fault.value)
        case MeterFound() as meter if (error := amount_error(meter, payment.amount)) is not None:
            return Declined(f"the amount {error.fields['amount']}", error.code)
        case MeterLookupFailed(reason) if not deps.meter_check.allows_unreachable:
            return NotSent(f"the meter could not be checked: {reason}")
        case _:
            return None


def enqueue_followup_hint(deps: Dependencies, hint: Hint, reply: CommandResult) -> None:
    """Queue a hint if the next step is due at once. A sweep finds what is due later."""
    if reply.next_at is not None and reply.next_at <= deps.clock.now():
        deps.queue.enqueue(queue_for(reply.status), [hint], wait=False)


def queue_for(status: Status) -> QueueName:
    """The queue for a payment in this status."""
    return QueueName.REVERSALS if status is Status.REVERSING else QueueName.PAYMENTS


def _load_payment(deps: Dependencies, hint: Hint) -> Payment:
    payment = deps.queries.transaction(hint.transaction_id, hint.user_id)
    if not isinstance(payment, Payment):
        raise TransactionNotFound(f"There is no payment {hint.transaction_id}.")
    return payment
