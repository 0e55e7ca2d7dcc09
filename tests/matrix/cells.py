"""The fault matrix: what goes wrong, when, and how the payment ends then. Every cell is written by hand.

first    the fault strikes the first send
second   the first send was refused or put off, and the fault strikes the second one
asking   the answer to the send is lost on the way, and the fault strikes the requery; where a fault is the send's own
         (declined, our float is too low), the requery finds what it made of the reference
"""

from dataclasses import dataclass, replace
from typing import Final

from tests.matrix import street
from tests.matrix.shop import AMOUNT, METER
from tests.matrix.street import Trouble


@dataclass(frozen=True)
class Cell:
    """How it ends."""

    status: str
    proof: str | None
    book: str
    """What the sandbox's book says of the reference; `nothing` where nothing came in, or all of it was refused."""
    wallet: str
    """What ada can spend of her NGN 5,000.00 after a payment of NGN 500.00."""
    incidents: tuple[str, ...] = ()
    sends: int = 1
    """How often the reference left us from the fault on."""
    doubted: bool | None = True
    """Whether it was in doubt on its way there; None where the two dialects differ."""

    @property
    def told(self) -> str:
        """As the page tells it."""
        doubt = "in doubt, then " if self.doubted and self.status != "in_review" else ""
        how = f"{doubt}{self.status.replace('_', ' ')}{f', `{self.proof}`' if self.proof else ''}"
        again = f"; sent {self.sends} times" if self.sends > 1 else ""
        return how + again + "".join(f"; incident `{kind}`" for kind in self.incidents)


COMPLETED: Final = Cell("completed", None, "vended", "4500.00", doubted=False)
COMPLETED_LATER: Final = replace(COMPLETED, doubted=True)
COMPLETED_AFTER_ONE_MORE: Final = replace(COMPLETED, sends=2)
COMPLETED_THEN_TAKEN_BACK: Final = replace(COMPLETED, book="taken_back", incidents=("taken_back",))
COMPLETED_AND_NEVER_TOLD: Final = replace(COMPLETED, book="taken_back")
"""BuyPower sends no hooks, and a completed payment is not asked about: only its statement shows it."""
ANOTHERS: Final = replace(COMPLETED, incidents=("token_of_another",))
ANOTHERS_LATER: Final = replace(ANOTHERS, doubted=True)
DECLINED: Final = Cell("reversed", "declined", "declined", "5000.00", doubted=None)
"""BuyPower's "failed" is believed of a requery alone."""
DECLINED_LATER: Final = replace(DECLINED, doubted=True)
REFUSED: Final = Cell("reversed", "declined", "nothing", "5000.00", doubted=False)
NOT_EXECUTED: Final = Cell("reversed", "not_executed", "nothing", "5000.00", doubted=False)
NOT_FOUND: Final = Cell("reversed", "not_found", "nothing", "5000.00")
TAKEN_BACK: Final = Cell("reversed", "provider_reversed", "taken_back", "5000.00")
FAILED_IN_ITS_WORDS: Final = Cell("reversed", "declined", "taken_back", "5000.00")
"""BuyPower has the same words for a sale that failed and for one that it took back."""
IN_REVIEW: Final = Cell("in_review", None, "pending", "4500.00")

Dialects = tuple[str, ...]
EVERY: Final[Dialects] = ("vtpass", "buypower")
VTPASS: Final[Dialects] = ("vtpass",)
BUYPOWER: Final[Dialects] = ("buypower",)


@dataclass(frozen=True)
class Row:
    """A fault, how it is played, and its cells. A cell that is text can't exist, for that reason."""

    fault: str
    first: Cell
    second: Cell
    asking: Cell | str
    planned: str = "none"
    """The sandbox's fault, which strikes the send that the row is about."""
    on_send: Trouble = street.whole
    """What becomes of that send on the street."""
    on_asking: Trouble | None = None
    """What becomes of the first requery, in the column `asking`."""
    lost: Trouble = street.lost
    """How the answer to the send is lost in that column."""
    hooks: int = 0
    """How many hooks come of the send."""
    taken_back: bool = False
    """Whether the sale is reversed at the sandbox, after the send's answer and before the next requery."""
    dialects: Dialects = EVERY
    stalls: bool = False
    """Whether our deadline has to run out."""


ANOTHER_METER: Final = street.rewrites(
    (r'"unique_element": "', r"\g<0>9"), ('"data": {', rf'\g<0>"meterNo": "9{METER}", ')
)
ANOTHER_AMOUNT: Final = street.rewrites((rf'("(?:amount|unit_price|vendAmount)": "?){AMOUNT}', r"\g<1>400"))
ANOTHERS_TOKEN: Final = street.rewrites((r"\d{20}", "0" * 20), (r"(\d{4}-){4}\d{4}", "-".join(["0000"] * 5)))
"""The token that another payment got before, in the same way."""

MATRIX: Final = (
    Row("delivered", COMPLETED, COMPLETED, COMPLETED_LATER),
    Row("declined", DECLINED, DECLINED, DECLINED_LATER, planned="declined"),
    Row("4xx: the provider refuses the request", REFUSED, REFUSED, NOT_FOUND, planned="minimum"),
    Row("4xx: a gateway does not know the way", NOT_FOUND, NOT_FOUND, COMPLETED_LATER,
        on_send=street.turns_away, on_asking=street.turns_away),
    Row("5xx, vended", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        planned="html_500", on_asking=street.breaks_down),
    Row("5xx, never vended", NOT_FOUND, NOT_FOUND, NOT_FOUND,
        planned="html_500_unsold", on_asking=street.breaks_down),
    Row("timeout before the vend", NOT_FOUND, NOT_FOUND, NOT_FOUND,
        on_send=street.stalls_before, on_asking=street.stalls_before, lost=street.never_arrives, stalls=True),
    Row("timeout after the vend", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=street.stalls_after, on_asking=street.stalls_after, stalls=True),
    Row("slow drip", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=street.drips, on_asking=street.drips, stalls=True),
    Row("reset mid body", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=street.resets_mid_body, on_asking=street.resets_mid_body),
    Row("malformed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=street.garbles, on_asking=street.garbles),
    Row("no token", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, planned="no_token_until"),
    Row("wrong meter echoed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=ANOTHER_METER, on_asking=ANOTHER_METER),
    Row("wrong amount echoed", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER,
        on_send=ANOTHER_AMOUNT, on_asking=ANOTHER_AMOUNT),
    Row("another payment's token", ANOTHERS, ANOTHERS, ANOTHERS_LATER,
        on_send=ANOTHERS_TOKEN, on_asking=ANOTHERS_TOKEN),
    Row("duplicate reference", COMPLETED_LATER, COMPLETED_LATER, "a requery sends nothing that could be a duplicate",
        planned="duplicate_reference"),
    Row("likely duplicate", COMPLETED_AFTER_ONE_MORE, COMPLETED_AFTER_ONE_MORE, NOT_FOUND,
        planned="likely_duplicate"),
    Row("low float", NOT_EXECUTED, NOT_EXECUTED, NOT_FOUND, planned="low_float"),
    Row("pending to delivered", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, planned="pending_then_delivered"),
    Row("pending to failed", DECLINED_LATER, DECLINED_LATER, DECLINED_LATER, planned="pending_then_failed"),
    Row("pending for ever", IN_REVIEW, IN_REVIEW, IN_REVIEW, planned="pending_for_ever", dialects=VTPASS),
    Row("not found to delivered", COMPLETED_LATER, COMPLETED_LATER, COMPLETED_LATER, planned="lands_late"),
    Row("not found for good", NOT_FOUND, NOT_FOUND, NOT_FOUND, planned="drop", lost=street.never_arrives),
    Row("delivered to reversed", COMPLETED_THEN_TAKEN_BACK, COMPLETED_THEN_TAKEN_BACK, TAKEN_BACK,
        taken_back=True, dialects=VTPASS),
    Row("delivered to reversed, and nobody says so (BuyPower)", COMPLETED_AND_NEVER_TOLD, COMPLETED_AND_NEVER_TOLD,
        FAILED_IN_ITS_WORDS, taken_back=True, dialects=BUYPOWER),
    Row("hook first", COMPLETED, COMPLETED, COMPLETED_LATER, planned="hook_before_answer", hooks=1, dialects=VTPASS),
    Row("hook twice", COMPLETED, COMPLETED, COMPLETED_LATER, planned="hook_five_times", hooks=5, dialects=VTPASS),
    Row("hook forged", COMPLETED, COMPLETED, COMPLETED_LATER, planned="hook_forged", hooks=1, dialects=VTPASS),
)  # fmt: skip
