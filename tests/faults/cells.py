"""The fault matrix: what goes wrong, when, and how the payment ends then. Every cell is written by hand.

first    the fault strikes the first send
second   the first send was refused or put off, and the fault strikes the second one
requery   the answer to the send is lost on the way, and the fault strikes the requery; where a fault is the send's own
         (declined, our float is too low), the requery finds what it made of the reference
"""

from dataclasses import dataclass, replace
from typing import Final

from tests.faults import fault_proxy
from tests.faults.environment import AMOUNT, METER
from tests.faults.fault_proxy import ProxyFault


@dataclass(frozen=True)
class Cell:
    """How it ends."""

    status: str
    proof: str | None
    sandbox_status: str
    """What the sandbox's book says of the reference; `nothing` where nothing came in, or all of it was refused."""
    available: str
    """What ada can spend of her NGN 5,000.00 after a payment of NGN 500.00."""
    incidents: tuple[str, ...] = ()
    sends: int = 1
    """How often the reference left us from the fault on."""
    was_in_doubt: bool | None = True
    """Whether it was in doubt on its way there; None where the two dialects differ."""

    @property
    def description(self) -> str:
        """As the page tells it."""
        doubt = "in doubt, then " if self.was_in_doubt and self.status != "in_review" else ""
        how = f"{doubt}{self.status.replace('_', ' ')}{f', `{self.proof}`' if self.proof else ''}"
        again = f"; sent {self.sends} times" if self.sends > 1 else ""
        return how + again + "".join(f"; incident `{kind}`" for kind in self.incidents)


COMPLETED: Final = Cell("completed", None, "vended", "4500.00", was_in_doubt=False)
COMPLETED_LATER: Final = replace(COMPLETED, was_in_doubt=True)
COMPLETED_AFTER_RESEND: Final = replace(COMPLETED, sends=2)
COMPLETED_THEN_TAKEN_BACK: Final = replace(COMPLETED, sandbox_status="taken_back", incidents=("taken_back",))
COMPLETED_REVERSAL_UNREPORTED: Final = replace(COMPLETED, sandbox_status="taken_back")
"""BuyPower sends no hooks, and a completed payment is not asked about: only its statement shows it."""
COMPLETED_FOREIGN_TOKEN: Final = replace(COMPLETED, incidents=("token_of_another",))
COMPLETED_FOREIGN_TOKEN_AFTER_DOUBT: Final = replace(COMPLETED_FOREIGN_TOKEN, was_in_doubt=True)
DECLINED: Final = Cell("reversed", "declined", "declined", "5000.00", was_in_doubt=None)
"""BuyPower's "failed" is believed of a requery alone."""
DECLINED_AFTER_DOUBT: Final = replace(DECLINED, was_in_doubt=True)
REJECTED: Final = Cell("reversed", "declined", "nothing", "5000.00", was_in_doubt=False)
NOT_EXECUTED: Final = Cell("reversed", "not_executed", "nothing", "5000.00", was_in_doubt=False)
NOT_FOUND: Final = Cell("reversed", "not_found", "nothing", "5000.00")
TAKEN_BACK: Final = Cell("reversed", "provider_reversed", "taken_back", "5000.00")
REPORTED_AS_FAILED: Final = Cell("reversed", "declined", "taken_back", "5000.00")
"""BuyPower has the same words for a sale that failed and for one that it took back."""
IN_REVIEW: Final = Cell("in_review", None, "pending", "4500.00")

Dialects = tuple[str, ...]
ALL_DIALECTS: Final[Dialects] = ("vtpass", "buypower")
VTPASS: Final[Dialects] = ("vtpass",)
BUYPOWER: Final[Dialects] = ("buypower",)


@dataclass(frozen=True)
class Row:
    """A fault, how it is played, and its cells. A cell that is text can't exist, for that reason."""

    fault: str
    first: Cell
    second: Cell
    requery: Cell | str
    sandbox_fault: str = "none"
    """The sandbox's fault, which strikes the send that the row is about."""
    send_fault: ProxyFault = fault_proxy.pass_through
    """What becomes of that send on the street."""
    requery_fault: ProxyFault | None = None
    """What becomes of the first requery, in the column `requery`."""
    lost_send_fault: ProxyFault = fault_proxy.drop_response
    """How the answer to the send is lost in that column."""
    webhooks: int = 0
    """How many hooks come of the send."""
    taken_back: bool = False
    """Whether the sale is reversed at the sandbox, after the send's answer and before the next requery."""
    dialects: Dialects = ALL_DIALECTS
    times_out: bool = False
    """Whether our deadline has to run out."""


WRONG_METER: Final = fault_proxy.rewrite_body(
    (r'"unique_element": "', r"\g<0>9"), ('"data": {', rf'\g<0>"meterNo": "9{METER}", ')
)
WRONG_AMOUNT: Final = fault_proxy.rewrite_body(
    (rf'("(?:amount|unit_price|vendAmount)": "?){AMOUNT}', r"\g<1>400")
)
FOREIGN_TOKEN: Final = fault_proxy.rewrite_body(
    (r"\d{20}", "0" * 20), (r"(\d{4}-){4}\d{4}", "-".join(["0000"] * 5))
)
"""The token that another payment got before, in the same way."""

MATRIX: Final = (
    Row("delivered", COMPLETED, COMPLETED, COMPLETED_LATER),
    Row("declined", DECLINED, DECLINED, DECLINED_AFTER_DOUBT, sandbox_fault="declined"),
    Row("4xx: the provider refuses the request", REJECTED, REJECTED, NOT_FOUND, sandbox_fault="minimum"),
    Row("4xx: a gateway does not know the way", NOT_FOUND, NOT_FOUND, COMPLETED_LATER,
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
    Row("delivered to reversed, and nobody says so (BuyPower)", COMPLETED_REVERSAL_UNREPORTED, COMPLETED_REVERSAL_UNREPORTED,
        REPORTED_AS_FAILED, taken_back=True, dialects=BUYPOWER),
    Row("hook first", COMPLETED, COMPLETED, COMPLETED_LATER, sandbox_fault="hook_before_answer", webhooks=1, dialects=VTPASS),
    Row("hook twice", COMPLETED, COMPLETED, COMPLETED_LATER, sandbox_fault="hook_five_times", webhooks=5, dialects=VTPASS),
    Row("hook forged", COMPLETED, COMPLETED, COMPLETED_LATER, sandbox_fault="hook_forged", webhooks=1, dialects=VTPASS),
)  # fmt: skip
