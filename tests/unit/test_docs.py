"""What the README and the deployment files say is what the program does."""

import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml

from pipeline import demo
from pipeline.__main__ import cli
from pipeline.app import rights_of
from pipeline.settings import ROLES, Settings
from pipeline.stages.fingerprints import Fingerprints
from schemas import Anomaly
from tests.chaos import play  # noqa: F401 - registers the scenarios
from tests.chaos.scenarios import OURS, SCENARIOS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
VARIABLES = {item.metadata["variable"] for item in fields(Settings) if item.metadata}


def settings_table() -> str:
    """The README's table of settings, from the class that reads them."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for item in fields(Settings):
        if item.metadata:
            default = "none" if item.default in (None, "") else f"`{item.default}`"
            secret = " (secret)" if item.metadata["secret"] else ""
            rows.append(f"| `{item.metadata['variable']}` | {default} | {item.metadata['doc']}{secret} |")
    return "\n".join(rows)


def commands() -> set[str]:
    """Every command of `pulseguard`, a group's with the group's name before it."""
    group = typer.main.get_command(cli)
    found: set[str] = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}" for sub in inner} if inner else {name}
    return found


def test_the_settings_table_equals_the_settings() -> None:
    """Every setting is in the README, with its default, and no other."""
    assert settings_table() in README, f"the table should be:\n{settings_table()}"


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "deploy").glob("*.md"))], ids=lambda file: file.name
)
def test_every_row_of_a_table_has_the_cells_of_its_head(file: Path) -> None:
    """No row was torn or put into another's table; a bar within code is no cell's end."""
    for table in re.findall(r"(?:^\|.*\n)+", file.read_text(), re.MULTILINE):
        rows = [re.sub(r"`[^`]*`|\\\|", "", row).count("|") for row in table.splitlines()]
        assert len(set(rows)) == 1, table


def test_the_table_of_rights_equals_what_is_asked_for_at_start() -> None:
    """Who gives each role what the README says is not refused, and gives none too many."""
    rows = ["| role | reads | writes | group |", "| --- | --- | --- | --- |"]
    for role, needs in rights_of(Settings()).items():
        cells = [", ".join(f"`{name}`" for name in names) for names in needs]
        rows.append("|" + "|".join(f" {cell} " if cell else " " for cell in (f"`{role}`", *cells)) + "|")
    table = "\n".join(rows)
    assert table in README, f"the table should be:\n{table}"
    assert set(rights_of(Settings())) == set(ROLES)


def test_every_command_is_described() -> None:
    """The command line reference has a row for every command, and none for what does not exist."""
    section = README.split("## Command line", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([a-z]+(?: [a-z]+)?)[^|]*`", section, re.MULTILINE)
    assert set(rows) == commands()


def test_make_eval_measures_the_public_set_beside_the_project(tmp_path: Path) -> None:
    """Where there is one; the project's own in any case; and another where it is named."""
    home = tmp_path / "project"
    home.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, home)

    def measured(*arguments: str, **environment: str) -> str:
        make, env = ["make", "-n", "eval", *arguments], {"PATH": os.environ["PATH"]} | environment
        said = subprocess.run(make, cwd=home, check=True, capture_output=True, text=True, env=env).stdout
        return said.split("for set in ", 1)[1].split(";", 1)[0].strip()

    assert measured() == "deploy/eval deploy/eval-hard"
    (tmp_path / "shared" / "eval").mkdir(parents=True)
    assert measured() == 'deploy/eval deploy/eval-hard "../shared/eval"'
    assert measured("EVAL_DATASET=m y") == 'deploy/eval deploy/eval-hard "m y"'
    assert measured(EVAL_DATASET="m y") == 'deploy/eval deploy/eval-hard "m y"'


def test_every_make_target_that_is_named_exists() -> None:
    """A command that the README tells a newcomer to type is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)`?", README)) <= targets


@pytest.mark.parametrize("event", re.findall(r"'(\{\"error_type.*?\})'", README))
def test_every_anomaly_in_the_readme_is_one(event: str) -> None:
    """Whoever copies an example publishes a valid anomaly."""
    assert msgspec.json.decode(event, type=Anomaly).error_type


def test_the_readme_shows_anomalies() -> None:
    """The examples above are found at all: kcat and curl each show one."""
    assert len(re.findall(r"'(\{\"error_type.*?\})'", README)) >= 2


def test_the_readme_shows_faults_that_the_demo_does_not() -> None:
    """After `make demo` each example is a new episode, and so a decision that one sees, not a count."""
    shown = re.findall(r"'(\{\"error_type.*?\})'", README)
    examples = [Fingerprints().of(msgspec.json.decode(event, type=Anomaly)) for event in shown]
    played = {Fingerprints().of(msgspec.convert(anomaly, Anomaly)) for anomaly in [*demo.SINGLES, demo.FAULT]}
    assert len(set(examples) - played) == len(examples)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:|#)([^)]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    """A file that the README points at is in the repository."""
    assert (ROOT / link.split("#", maxsplit=1)[0]).exists()


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def composed() -> list[dict[str, Any]]:
    """The services that are the program."""
    return [service for service in compose()["services"].values() if "command" in service]


def test_compose_sets_only_settings_that_exist() -> None:
    """A variable that compose hands to a role is a setting, or a model provider's key."""
    assert sorted(role["command"][1] for role in composed()) == sorted(ROLES)
    for role in composed():
        unknown = {name for name in role["environment"] if name not in VARIABLES and not name.endswith("_API_KEY")}
        assert unknown == set()


def test_compose_hands_on_every_setting() -> None:
    """Whoever writes one into .env has set it; but for what compose brings along, and what wants a volume."""
    handed = set().union(*(role["environment"] for role in composed()))
    brought = r"KAFKA_(SASL|SSL|SECURITY)_.+|QDRANT_API_KEY|(KAFKA|HTTP|RELAY|POSTGRES)_PORT|TOPIC_(?!PART|.*HOURS).+"
    wants_a_volume = r".+_FILE|EMBEDDING_MODEL"
    assert {name for name in VARIABLES - handed if not re.fullmatch(f"{brought}|{wants_a_volume}", name)} == set()


def test_compose_lets_the_same_origins_to_the_feed_and_the_api() -> None:
    """As ALLOW_ORIGINS says."""
    assert {role["command"][1] for role in composed() if "ALLOW_ORIGINS" in role["environment"]} == {"relay", "gateway"}


def test_compose_pins_and_confines() -> None:
    """Outside images carry a version, and the program runs without privileges on a read-only file system."""
    for service in compose()["services"].values():
        assert re.search(r":v?\d|^pulseguard:", service["image"])
        assert "no-new-privileges:true" in service["security_opt"]
        assert "command" not in service or (service["read_only"] and service["cap_drop"] == ["ALL"])


def test_the_example_environment_names_real_variables() -> None:
    """Each variable of deploy/env.example is a setting, a provider's key, or PostgreSQL's password for compose."""
    names = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / "deploy/env.example").read_text(), re.MULTILINE))
    assert {name for name in names - VARIABLES if not name.endswith("_API_KEY")} == {"POSTGRES_PASSWORD"}


def test_the_table_of_guarantees_names_every_scenario() -> None:
    """Each fault of deploy/GUARANTEES.md leads to scenarios that exist, and each scenario is in its table once."""
    lines = (ROOT / "deploy/GUARANTEES.md").read_text().splitlines()
    start = lines.index("| fault | what happens | scenario |")
    cells = [line.split("|")[-2] for line in lines[start + 2 :] if line.startswith("|")]
    named = [name for cell in cells for name in re.findall(r"`([a-z0-9-]+)`", cell)]
    assert sorted(named) == sorted(SCENARIOS)


def test_every_scenario_says_what_it_does() -> None:
    """`--list` has a sentence for each, and each can be played on some broker of the suite's own."""
    assert all(one.says.endswith(".") and set(one.brokers) & set(OURS) for one in SCENARIOS.values())


def test_the_image_holds_every_file_that_a_setting_defaults_to() -> None:
    """A container without one of them would refuse to start."""
    copied = re.findall(r"^COPY (?!--from)(\S+) ", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    files = [item.default for item in fields(Settings) if isinstance(item.default, Path) and item.default.suffix]
    assert len(files) >= 4
    for path in files:
        assert (ROOT / path).is_file()
        assert any(path.match(pattern) for pattern in copied), f"{path} is not in the image"
