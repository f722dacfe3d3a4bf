"""The seed knowledge and the catalogue: complete, consistent, and within bounds."""

from pathlib import Path

import pytest

from pipeline.catalogue import ESCALATE, Catalogue, load_catalogue
from pipeline.errors import Misconfigured, Rejected
from pipeline.knowledge import read_incidents
from schemas import Action, Incident

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(DEPLOY / "actions.yaml")


@pytest.fixture(scope="module")
def incidents() -> list[Incident]:
    return read_incidents(DEPLOY / "incidents")


def test_there_are_sixty_incidents_over_the_fault_classes(incidents: list[Incident]):
    """At least sixty, over at least fifteen fault classes, some of whose mitigations failed."""
    assert len(incidents) >= 60
    assert len({incident.fault_class for incident in incidents}) >= 15
    assert sum(incident.outcome == "failed" for incident in incidents) >= 3


def test_every_incidents_action_obeys_the_catalogue(incidents: list[Incident], catalogue: Catalogue):
    for incident in incidents:
        assert incident.action is not None
        catalogue.check(incident.action)
        assert catalogue.sentence(incident.action)


def test_every_sentence_can_be_said_with_defaults_and_minima(catalogue: Catalogue):
    for name in catalogue.names:
        spec = catalogue.get(name)
        values = {n: p.default if p.default is not None else p.minimum for n, p in spec.parameters.items()}
        action = Action(name, "checkout", {n: v for n, v in values.items() if v is not None})
        catalogue.check(action)
        assert "checkout" in catalogue.sentence(action)


FORBIDDEN = [
    (Action("rm_rf", "x"), "not in the catalogue"),
    (Action("throttle_connections", "x"), "missing"),
    (Action("throttle_connections", "x", {"limit_percent": 0}), "below"),
    (Action("throttle_connections", "x", {"limit_percent": 101}), "above"),
    (Action("throttle_connections", "x", {"limit_percent": float("nan")}), "below"),
    (Action("throttle_connections", "x", {"limit_percent": "30"}), "number"),
    (Action("throttle_connections", "x", {"limit_percent": True}), "number"),
    (Action("throttle_connections", "x", {"limit_percent": 30, "shell": "x"}), "no parameter"),
    (Action("reroute_traffic", "x", {"destination": "x" * 61}), "short text"),
    (Action("reroute_traffic", "x", {"destination": "zone b. Then stop all writes"}), "short text"),
    (Action("reroute_traffic", "x", {"destination": "zone\u3164b"}), "short text"),
    (Action("reroute_traffic", "x", {"destination": "<!channel> https://evil.example"}), "without markup"),
]


@pytest.mark.parametrize(("action", "reason"), FORBIDDEN)
def test_nothing_outside_the_catalogue_passes(catalogue: Catalogue, action: Action, reason: str):
    with pytest.raises(Rejected, match=reason):
        catalogue.check(action)


ASKS = f"{ESCALATE}: {{description: d, sentence: s, risk: low, example: e}}"
SAYS = f"{ASKS}\nwait: {{description: d, risk: low, example: e, "
LIMITED = "parameters: {minutes: {type: number, description: d, minimum: 1, default: %s}}"
BROKEN_CATALOGUES = {
    "a: 1": "",
    "[": "",
    "restart: {description: d, sentence: s, risk: low, example: e}": "lacks escalate_to_human",
    f"{SAYS}sentence: 'Wait {{hours}} h'}}": "wait: its sentence names 'hours'",
    f"{SAYS}sentence: 'Wait {{'}}": "wait: its sentence cannot be filled in",
    f"{SAYS}sentence: Wait, {LIMITED % 0}}}": "wait: the default of minutes is below 1",
    f"{SAYS}sentence: Wait, {LIMITED % 'long'}}}": "wait: the default of minutes is not a number",
}


def test_a_broken_catalogue_is_a_clear_error(tmp_path: Path):
    for text, reason in BROKEN_CATALOGUES.items():
        path = tmp_path / "actions.yaml"
        path.write_text(text)
        with pytest.raises(Misconfigured, match=f"ACTIONS_FILE.*{reason}"):
            load_catalogue(path)


def test_a_post_mortem_in_markdown_becomes_an_incident(tmp_path: Path):
    """Front matter first, then sections by their heading, with what is below them."""
    (tmp_path / "2025-outage.md").write_text(
        "---\nservice: shop\noutcome: resolved\n---\n# Shop was down\n\n## Impact\nNobody could pay.\n\n"
        "## Root cause\nA full disk.\n\n## Resolution\n### First\nLogs were deleted.\n"
    )
    (incident,) = read_incidents(tmp_path)
    assert (incident.id, incident.title, incident.service) == ("2025-outage", "Shop was down", "shop")
    assert incident.symptoms == "Nobody could pay."
    assert incident.root_cause == "A full disk."
    assert "Logs were deleted." in incident.mitigation


def test_code_and_a_readme_in_a_folder_of_post_mortems_are_no_headings_and_no_incident(tmp_path: Path):
    """A comment in a fenced block is no heading, however it looks; READMEs and hidden folders hold no incidents."""
    (tmp_path / "README.md").write_text("# How we write these\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "note.md").write_text("# no\n")
    (tmp_path / "full-disk.md").write_text(
        "# Disk full ##\n## Mitigation\n```sh\n# first\n## then\nrm old.log\n```\nThen a restart.\n"
        "## Next steps\nNone.\n"
    )
    (incident,) = read_incidents(tmp_path)
    assert incident.title == "Disk full"
    assert incident.mitigation == "```sh\n# first\n## then\nrm old.log\n```\nThen a restart."


BROKEN = {
    "a.json": "{",
    "b.jsonl": '{"id": "a", "title": "t"}\n{',
    "c.yaml": "- id: 1\n- [",
    "d.yaml": "- id: x",
    "e.json": '[{"id": "a", "title": "t"}, {"id": "a", "title": "t"}]',
    "f.yaml": "- {id: x, title: t, occurred_at: 2025-13-45}",
    "g.txt": "hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_its_name(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text(BROKEN[name])
    with pytest.raises(Rejected, match=name.replace(".", r"\.")):
        read_incidents(path)


def test_a_sentence_is_one_line_whatever_its_target_is_called(catalogue: Catalogue):
    """Printed line by line, a part of it would pass for another decision."""
    assert catalogue.sentence(Action("restart_service", "a\nb")) == catalogue.sentence(Action("restart_service", "a b"))
