"""What the command line takes from a user before it asks any part."""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from pipeline import console, dlq, incidents, settings, silences
from pipeline.__main__ import cli, decision_line, figure
from pipeline.errors import PulseGuardError, Rejected
from pipeline.kafka import Message
from pipeline.send import json_values, keyed
from pipeline.sinks.policy import Silence
from pipeline.stages.fingerprints import Fingerprints
from schemas import Anomaly
from tests.unit.test_blocks import decision


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b'{"a": 1}\n\n {"b": 2} \n', [b'{"a": 1}', b'{"b": 2}']),
        (b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}']),
        (b'[{"a": 1}, {"b" : 2}]', [b'{"a": 1}', b'{"b" : 2}']),
    ],
)
def test_lines_an_object_and_a_list_are_sent_as_they_stand(text: bytes, values: list[bytes]):
    assert json_values(text) == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "nothing to send"),
        (b" \n ", "nothing to send"),
        (b"[]", "nothing to send"),
        (b'{"a": 1}\n\nhello\n', "line 3 is not JSON"),
        (b"hello", "line 1 is not JSON"),
        (b'{"a": 1}\n"b"\n', "line 2 is no JSON object"),
        (b'[{"a": 1}, 2]', "element 2 is no JSON object"),
        (b'[{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "line 1 is not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_anomaly_of_any_kind_is_refused_before_anything_is_sent(text: bytes, reason: str):
    """By the number of its line in the input."""
    with pytest.raises(Rejected, match=reason):
        json_values(text)


def test_what_is_sent_has_the_key_of_its_fault():
    """By the pipeline's own rule: `resolved` lies behind what it ends. What is no anomaly is left to the worker."""
    values = [
        b'{"error_type": "e", "service": "s", "message": "a"}',
        b'{"error_type": "e", "service": "s", "status": "resolved"}',
        b'{"error_type": "e", "service": "t"}',
        b'{"error_type": ""}',
    ]
    firing, resolved, other, unreadable = keyed(values, settings.read({}), Fingerprints())
    assert firing == (Fingerprints().of(Anomaly(error_type="e", service="s")).encode(), values[0])
    assert resolved[0] == firing[0] != other[0]
    assert unreadable == (None, values[3])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12_345, "12,345"),
        (560.8233999999998, "560.8"),
        ({"recommend": 1200, "escalate": 1}, "recommend 1,200, escalate 1"),
        ({}, "-"),
        (None, "-"),
    ],
)
def test_statistics_are_for_reading(value: Any, shown: str):
    assert figure(value) == shown


def test_the_version_is_the_projects(monkeypatch: pytest.MonkeyPatch):
    """Also where the program is not installed, as in the image: both are what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    def lost(name: str) -> str:
        raise PackageNotFoundError(name)

    assert CliRunner().invoke(cli, ["--version"]).output == f"pulseguard {project}\n"
    monkeypatch.setattr("pipeline.__main__.version", lost)
    assert CliRunner().invoke(cli, ["--version"]).output == f"pulseguard {project}\n"


def test_a_name_that_is_nearly_a_settings_is_told_beside_the_answer():
    """On standard error: what reads the answer in a pipe gets nothing else."""
    said = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"], env=os.environ | {"KAFKA_BOOTSTRAP_SERVER": "kafka:9092"},
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert said.stderr == "note KAFKA_BOOTSTRAP_SERVER is no setting: is KAFKA_BOOTSTRAP_SERVERS meant?\n"
    assert said.stdout.startswith("pulseguard ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("dlq list --reason lost", "'rejected', 'bug', 'refused'"),
        ("dlq list --since yesterday", "neither a time like"),
        ("silence add service=x --author ada --for 2h --end 2099-01-01", "give one of them"),
        ("silence add service=x --author ada --for long", "is no span of time"),
        ("silence add service=x --author ada --for 999999w", "ends after the year 9999"),
        ("silence add service=x --author ada --start 9999-12-31T23:59:59", "ends after the year 9999"),
        ("incidents search \udcff", "lone surrogate"),
        ("dlq list", "KAFKA_BOOTSTRAP_SERVERS: no answer from 127.0.0.1:1"),
        ("send {anomaly}", "KAFKA_BOOTSTRAP_SERVERS: no answer from 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_meant_or_done_is_refused(tmp_path: Path, arguments: str, says: str):
    """Before any part is asked; where that is Kafka, and it is away, by the variable that names it."""
    (tmp_path / "anomaly").write_text('{"error_type": "e"}')
    told = arguments.format(anomaly=tmp_path / "anomaly").split()
    done = CliRunner().invoke(cli, told, env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "COLUMNS": "200"})
    assert done.exit_code != 0
    assert isinstance(done.exception, PulseGuardError | SystemExit)
    assert says in done.output + str(done.exception)


ROOT = Path(__file__).parents[2]
LETTER = Message(
    "anomalies.dlq", 1, 0, None, b"\x1b]0;all is well\x07{}\n\xff\t\xc3\xa9", [("x", b"\x1b[2J"), ("reason", b"bug")], 0
)


def test_a_terminal_is_shown_a_dead_letters_bytes_and_obeys_none(monkeypatch: pytest.MonkeyPatch):
    """Control characters and what is no UTF-8 are spelled; lines, tabs and letters stand as they are."""
    master, slave = os.openpty()
    monkeypatch.setattr(dlq, "_dead_letters", lambda: [LETTER])
    with os.fdopen(slave, "w", encoding="utf-8") as screen:
        monkeypatch.setattr(sys, "stdout", screen)
        dlq.dlq_show("1@0")
        screen.flush()
        shown = b""
        while "é".encode() not in shown:
            shown += os.read(master, 4096)
    os.close(master)
    assert shown.decode().replace("\r\n", "\n") == (
        "x: \\x1b[2J\nreason: bug\nkey: none\n\\x1b]0;all is well\\x07{}\n\\xff\té\n"
    )


def test_a_pipe_is_given_a_dead_letters_bytes_as_they_came(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dlq, "_dead_letters", lambda: [LETTER])
    done = CliRunner().invoke(cli, ["dlq", "show", "1@0"])
    assert done.stdout_bytes == b"x: \x1b[2J\nreason: bug\nkey: none\n" + (LETTER.value or b"") + b"\n"


WICKED = "[/x] [bold]b[/] \x1b[2J\x9b1m"
SEEN = "[/x] [bold]b[/] ·[2J·1m"


def answers(found: Any) -> Any:
    """In the place of `run_async`: the work is not done, and this is what came of it."""

    def run(work: Any) -> Any:
        work.close()
        return found

    return run


def test_a_terminal_obeys_no_silence(monkeypatch: pytest.MonkeyPatch):
    """Author and comment are whoever posted it to the API; brackets are shown, too."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(silences, "run_async", answers([Silence("sil_1", (WICKED,), now, now, WICKED, WICKED)]))
    assert CliRunner().invoke(cli, ["silence", "list"]).output.count(SEEN) == 3


def test_a_terminal_obeys_no_file_of_past_incidents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Neither its name, nor what is wrong in it, nor an id of it."""
    monkeypatch.setattr(incidents, "run_async", answers(1))
    row = {"id": WICKED, "title": "t", "action": {"name": WICKED.replace("/", ""), "target": "x"}}
    (tmp_path / "[bold]\x1b.jsonl").write_text(json.dumps(row))
    (tmp_path / "bad\x1b.jsonl").write_text(json.dumps({"id": "i", "[/x]\x1b[2J": [], "outcome": "\x1b[/x]"}))
    done = CliRunner().invoke(cli, ["incidents", "load", str(tmp_path)])
    assert done.exit_code == 1
    assert not [char for char in done.output if char != "\n" and not char.isprintable()]
    assert "[bold]·.jsonl" in done.output
    assert f"such an action will never be advised ({SEEN})" in done.output


def test_a_folder_of_past_incidents_is_told_in_few_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An action that can never be advised once for all that name it, and what is of no kind that is read."""
    monkeypatch.setattr(incidents, "run_async", answers(5))
    rows = [{"id": f"i{n}", "title": "t", "action": {"name": "fly", "target": "x"}} for n in range(5)]
    (tmp_path / "past.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("a.PDF", "b.pdf", "Makefile", ".hidden.pdf"):
        (tmp_path / name).touch()
    done = CliRunner().invoke(cli, ["incidents", "load", str(tmp_path)])
    assert done.exit_code == 0
    assert "note of no kind that is read: 2 .pdf, 1 without a suffix\n" in done.output
    whose = "such an action will never be advised (i0, i1, i2 and 2 more)"
    assert f"note action 'fly' is not in the catalogue: {whose}\n" in done.output


def test_what_is_done_is_said_by_its_whole_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Brackets are no markup here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dlq, "_dead_letters", lambda *_: [LETTER])
    assert CliRunner().invoke(cli, ["dlq", "export", "[bold]x"]).output == "1 written to [bold]x\n"
    monkeypatch.setattr(incidents, "run_async", answers(1))
    assert CliRunner().invoke(cli, ["incidents", "retire", "[/x]"]).output == "[/x] is retired\n"


@pytest.mark.parametrize("header", [b"[/x]", b"\x1b[2J", b"\xff"])
def test_a_terminal_obeys_no_header_of_a_dead_letter(monkeypatch: pytest.MonkeyPatch, header: bytes):
    """The topic is anybody's who may write to it."""
    told = [(f"pulseguard_{name}", header) for name in ("reason", "message", "topic", "partition", "offset", "time")]
    monkeypatch.setattr(dlq, "_dead_letters", lambda *_: [Message("dlq", 1, 0, None, b"", told, 0)])
    done = CliRunner().invoke(cli, ["dlq", "list"])
    assert done.exit_code == 0
    assert done.output.count(console.harmless(header.decode(errors="replace"))) == 6


@pytest.mark.parametrize(
    ("called", "path", "typed"),
    [
        ("bin/pulseguard", "", "bin/pulseguard env"),
        ("bin/pulseguard", "bin", "pulseguard env"),
        ("bin/pulseguard", "other", "bin/pulseguard env"),
        ("a b/pulseguard", "", "'a b/pulseguard' env"),
        ("somewhere/pipeline/__main__.py", "bin", f"{sys.executable} -m pipeline env"),
    ],
)
def test_a_command_to_type_is_one_that_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: str, path: str, typed: str
):
    """`make up` starts the program by its path, and it is on no PATH then."""
    monkeypatch.chdir(tmp_path)
    for folder in ("bin", "other", "a b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pulseguard").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [called, "up"])
    monkeypatch.setenv("PATH", str(tmp_path / path) if path else "/nowhere")
    assert console.typed("env") == typed


def test_a_revision_is_shown_as_one():
    """The first line of an episode is its symptom; a later one says how many were seen by then."""
    first = decision("disk full")
    again = msgspec.structs.replace(first, revision=2, occurrences=1500)
    assert decision_line(first).splitlines()[0] == "00:00:00  disk full"
    assert decision_line(again).splitlines()[0] == "00:00:00  again, 1,500 seen: disk full"


def test_a_terminal_obeys_nothing_that_an_anomaly_says():
    """A screen that is cleared, a title or a second line that nobody wrote: each control character is a dot."""
    shown = decision_line(decision("\x1b[2J\x1b]0;all is well\x07 \r\x9b1m"))
    assert not [char for char in shown if char != "\n" and not char.isprintable()]
    assert "·]0;all is well· ··1m" in shown


def test_as_many_files_as_the_system_allows():
    """And not as many as a shell begins with: each client of the feed is one."""
    code = """
import resource, sys
from pipeline.__main__ import main
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
sys.argv = ["pulseguard", "--version"]
try:
    main()
finally:
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
