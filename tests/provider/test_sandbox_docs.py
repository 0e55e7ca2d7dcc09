"""The page about the sandbox says what the sandbox does."""

from pathlib import Path

from billvend.adapters.provider.sandbox.meters import METERS

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_the_page_has_a_row_for_each_meter_and_for_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{meter}` | {behaviour.told} |" for meter, behaviour in METERS.items()]
