"""The documentation of the sandbox lists every meter and fault."""

from pathlib import Path

from billvend.adapters.providers.sandbox.faults import BEHAVIOUR_BY_FAULT, METERS

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_docs_list_every_meter_and_fault() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    documented = [*METERS.items(), *BEHAVIOUR_BY_FAULT.items()]
    assert rows == [f"| `{name}` | {behaviour.description} |" for name, behaviour in documented]
