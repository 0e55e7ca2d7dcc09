"""The stories in `scenarios/`, told to the core; see `scenario.py` for how they are read."""

from pathlib import Path

import pytest

from tests.domain.scenario import Scenario, run_scenario, scenarios

SCENARIOS = list(scenarios(Path(__file__).parent / "scenarios"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario) -> None:
    run_scenario(scenario)
