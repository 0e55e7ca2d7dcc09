"""The scenarios in `scenarios/`, run against the core; `scenario.py` describes their language."""

from pathlib import Path

import pytest

from tests.domain.scenario import Scenario, run_scenario, scenarios

SCENARIOS = list(scenarios(Path(__file__).parent / "scenarios"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario) -> None:
    run_scenario(scenario)
