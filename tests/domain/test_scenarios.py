"""The stories in `scenarios/`, told to the core; see `scenario.py` for how they are read."""

from pathlib import Path

import pytest

from tests.domain.scenario import Scenario, play, scenarios

STORIES = list(scenarios(Path(__file__).parent / "scenarios"))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_story(story: Scenario) -> None:
    play(story)
