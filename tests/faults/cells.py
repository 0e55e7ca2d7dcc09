"""The fault matrix: each fault, the moment when it happens, and how the payment ends. Every cell is written by hand.

first    the fault hits the first send
second   the first send was rejected or deferred, and the fault hits the second one
requery  the answer to the send is lost, and the fault hits the requery. Some faults belong to the send (declined, low
         float): then the requery finds their effect on the reference.
"""

from dataclasses import dataclass, replace
from typing import Final

from tests.faults import fault_proxy
from tests.faults.environment import AMOUNT, METER
from tests.faults.fault_proxy import ProxyFault


@dataclass(frozen=True)
class Cell:
    """The end of a payment."""

    status: str
    proof: str | None
    sandbox_status: str
    """The status of the reference in the sandbox; `nothing` if no request arrived or all were rejected."""
    available: str
    """The available balance of ada in NGN. She had 5,000.00 and pays 500.00."""
    incidents: tuple[str, ...] = ()
    sends: int = 1
    """How many sends there were from the fault on."""
    was_in_doubt: bool | None = True
    """Whether the payment was in doubt at some time. None: the two dialects differ."""

    @property
    def description(self) -> str:
        """The text of this cell in docs/fault-matrix.md."""
        doubt = "in doubt, then " if self.was_in_doubt and self.status != "in_review" else ""
        how = f"{doubt}{self.status.replace('_', ' ')}{f', `{self.proof}`' if self.proof else ''}"
        again = f"; sent {self.sends} times" if self.sends > 1 else ""
        return how + again + "".join(f"; incident `{kind}`" for kind in self.incidents)


COMPLETED: Final = Cell("completed", None, "vended", "4500.00", was_in_doubt=False)
COMPLETED_LATER: Final = replace(COMPLETED, was_in_doubt=True)
COMPLETED_AFTER_RESEND: Final = replace(COMPLETED, sends=2)
COMPLETED_THEN_TAKEN_BACK: Final = replace(COMPLETED, sandbox_status="taken_back", incidents=("taken_back",))
COMPLETED_REVERSAL_UNREPORTED: Final = replace(COMPLETED, sandbox_status="taken_back")
"""BuyPower sends no webhooks, and completed payments are not requeried. Only its statement shows the reversal."""
COMPLETED_FOREIGN_TOKEN: Final = replace(COMPLETED, incidents=("token_of_another",))
COMPLETED_FOREIGN_TOKEN_AFTER_DOUBT: Final = replace(COMPLETED_FOREIGN_TOKEN, was_in_doubt=True)
DECLINED: Final = Cell("reversed", "declined", "declined", "5000.00", was_in_doubt=None)
"""BuyPower's "failed" is trusted only in the answer to a requery."""
DECLINED_AFTER_DOUBT: Final = replace(DECLINED, was_in_doubt=True)
REJECTED: Final = Cell("reversed", "declined", "nothing", "5000.00", was_in_doubt=False)
NOT_EXECUTED: Final = Cell("reversed", "not_executed", "nothing", "5000.00", was_in_doubt=False)
NOT_FOUND: Final = Cell("reversed", "not_found", "nothing", "5000.00")
TAKEN_BACK: Final = Cell("reversed", "provider_reversed", "taken_back", "5000.00")
REPORTED_AS_FAILED: Final = Cell("reversed", "declined", "taken_back", "5000.00")
"""BuyPower answers the same for a failed sale and for one that it took back."""
IN_REVIEW: Final = Cell("in_review", None, "pending", "4500.00")

Dialects = tuple[str, ...]
ALL_DIALECTS: Final[Dialects] = ("vtpass", "buypower")
VTPASS: Final[Dialects] = ("vtpass",)
BUYPOWER: Final[Dialects] = ("buypower",)


@dataclass(frozen=True)
class Row:
    """A fault, how it is injected, and its cells. A text instead of a cell says why the cell cannot exist."""

    fault: str
    first: Cell
    second: Cell
    requery: Cell | str
    sandbox_fault: str = "none"
    """The fault that the sandbox injects into the send under test."""
    send_fault: ProxyFault = fault_proxy.pass_through
    """The fault that the proxy injects into that send."""
    requery_fault: ProxyFault | None = None
    """The fault that the proxy injects into the first requery, in the column `requery`."""
    lost_send_fault: ProxyFault = fault_proxy.drop_response
    """The fault that loses the answer to the send, in that column."""
    webhooks: int = 0
    """How many webhooks the send causes."""
    taken_back: bool = False
    """Whether the sandbox takes the sale back, after the answer to the send and before the next requery."""
    dialects: Dialects = ALL_DIALECTS
    times_out: bool = False
    """Whether our own timeout must expire."""


WRONG_METER: Final = fault_proxy.rewrite_body(
    (r'"unique_element": "', r"\g<0>9"), ('"data": {', rf'\g<0>"meterNo": "9{METER}", ')
)
WRONG_AMOUNT: Final = fault_proxy.rewrite_body(
    (rf'("(?:amount|unit_price|vendAmount)": "?){AMOUNT}', r"\g<1>400")
)
FOREIGN_TOKEN: Final = fault_proxy.rewrite_body(
    (r"\d{20}", "0" * 20), (r"(\d{4}-){4}\d{4}", "-".join(["0000"] * 5))
)
"""Replaces the token. Another payment got the same token before."""

MATRIX: Final = (
    Row("delivered", COMPLETED, COMPLETED, COMPLETED_LATER),
    Row("declined", DECLINED, DECLINED, DECLINED_AFTER_DOUBT, sandbox_fault="declined"),
    Row("4xx: the provider rejects the request", REJECTED, REJECTED, NOT_FOUND, sandbox_fault="minimum"),
    Row("4xx: a gateway finds no route", NOT_FOUND, NOT_FOUND, COMPLETED_LATER,
        send_fault=fault_proxy.return_404, requery_fault=fault_proxy.return_404),
    Row("5xx, vended", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        sandbox_fault="html_500", requery_fault=fault_proxy.return_502),
    Row("5xx, never vended", NOT_FOUND, NOT_FOUND, NOT_FOUND,
        sandbox_fault="html_500_unsold", requery_fault=fault_proxy.return_502),
    Row("timeout before the vend", NOT_FOUND, NOT_FOUND, NOT_FOUND,
        send_fault=fault_proxy.stall_before_forwarding, requery_fault=fault_proxy.stall_before_forwarding,
        lost_send_fault=fault_proxy.drop_request, times_out=True),
    Row("timeout after the vend", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=fault_proxy.stall_after_forwarding, requery_fault=fault_proxy.stall_after_forwarding, times_out=True),
    Row("slow drip", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=fault_proxy.trickle_response, requery_fault=fault_proxy.trickle_response, times_out=True),
    Row("reset mid body", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=fault_proxy.reset_mid_body, requery_fault=fault_proxy.reset_mid_body),
    Row("malformed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=fault_proxy.truncate_body, requery_fault=fault_proxy.truncate_body),
    Row("no token", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, sandbox_fault="no_token_until"),
    Row("wrong meter echoed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=WRONG_METER, requery_fault=WRONG_METER),
    Row("wrong amount echoed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        send_fault=WRONG_AMOUNT, requery_fault=WRONG_AMOUNT),
    Row("another payment's token", COMPLETED_FOREIGN_TOKEN, COMPLETED_FOREIGN_TOKEN, COMPLETED_FOREIGN_TOKEN_AFTER_DOUBT,
        send_fault=FOREIGN_TOKEN, requery_fault=FOREIGN_TOKEN),
    Row("duplicate reference", COMPLETED_LATER, COMPLETED_LATER, "a requery sends nothing that could be a duplicate",
        sandbox_fault="duplicate_reference"),
    Row("likely duplicate", COMPLETED_AFTER_RESEND, COMPLETED_AFTER_RESEND, NOT_FOUND,
        sandbox_fault="likely_duplicate"),
    Row("low float", NOT_EXECUTED, NOT_EXECUTED, NOT_FOUND, sandbox_fault="low_float"),
    Row("pending to delivered", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, sandbox_fault="pending_then_delivered"),
    Row("pending to failed", DECLINED_AFTER_DOUBT, DECLINED_AFTER_DOUBT, DECLINED_AFTER_DOUBT,
        sandbox_fault="pending_then_failed"),
    Row("pending for ever", IN_REVIEW, IN_REVIEW, IN_REVIEW, sandbox_fault="pending_for_ever", dialects=VTPASS),
    Row("not found to delivered", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, sandbox_fault="lands_late"),
    Row("not found for good", NOT_FOUND, NOT_FOUND, NOT_FOUND, sandbox_fault="drop", lost_send_fault=fault_proxy.drop_request),
    Row("delivered to reversed", COMPLETED_THEN_TAKEN_BACK, COMPLETED_THEN_TAKEN_BACK, TAKEN_BACK,
        taken_back=True, dialects=VTPASS),
    Row("delivered to reversed, unreported (BuyPower)", COMPLETED_REVERSAL_UNREPORTED, COMPLETED_REVERSAL_UNREPORTED,
        REPORTED_AS_FAILED, taken_back=True, dialects=BUYPOWER),
    Row("webhook first", COMPLETED, COMPLETED, COMPLETED_LATER,
        sandbox_fault="hook_before_answer", webhooks=1, dialects=VTPASS),
    Row("webhook twice", COMPLETED, COMPLETED, COMPLETED_LATER,
        sandbox_fault="hook_five_times", webhooks=5, dialects=VTPASS),
    Row("webhook forged", COMPLETED, COMPLETED, COMPLETED_LATER,
        sandbox_fault="hook_forged", webhooks=1, dialects=VTPASS),
)  # fmt: skip
