"""The project's own evaluation sets: sound, and no copies of what they ask for."""

from pathlib import Path

import pytest

from pipeline.catalogue import load_catalogue
from pipeline.dataset import read_dataset
from pipeline.words import document_of, plain

DEPLOY = Path(__file__).parents[2] / "deploy"
SETS = ["eval", "eval-hard"]


def runs(text: str, length: int = 5) -> set[tuple[str, ...]]:
    """Every ``length`` words that stand in a row."""
    said = plain(text).lower().replace(",", " ").replace(".", " ").split()
    return {tuple(said[n : n + length]) for n in range(len(said) - length + 1)}


@pytest.mark.parametrize("name", SETS)
def test_a_set_names_incidents_and_actions_that_there_are(name: str) -> None:
    """Every answer is on record, every right action in the catalogue, no id is used twice, some have no answer."""
    incidents, cases = read_dataset(DEPLOY / name)
    known = {incident.id for incident in incidents}
    actions = set(load_catalogue(DEPLOY / "actions.yaml").names)
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.relevant <= known for case in cases)
    assert {case.action for case in cases if case.action} <= actions
    assert sum(not case.relevant for case in cases) >= len(cases) / 5


def test_the_hard_set_borrows_no_sentence() -> None:
    """No message holds five words in a row of an incident: a copy would be found by anything."""
    incidents, cases = read_dataset(DEPLOY / "eval-hard")
    told = {run for incident in incidents for run in runs(document_of(incident))}
    assert {case.id for case in cases if runs(case.anomaly.message or "") & told} == set()
