"""Untrusted text against a model that obeys it: OWASP's LLM01, LLM02, LLM05, LLM06 and LLM10, as one table."""

import json
import re
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from pipeline import settings
from pipeline.__main__ import decision_line
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration, trust
from pipeline.llm import Llm, open_llm
from pipeline.llm.answer import PROMPT, question, schema_of, tamed
from pipeline.nearest import Advice
from pipeline.redact import _BLANK
from pipeline.sinks.blocks import Member, render, render_digest, render_update
from pipeline.stages.decide import advised, compose
from schemas import Action, Anomaly, Decision, EnrichedAnomaly, Evidence, Metric, Signals
from tests.guard.attacks import ATTACKS, TEXTS, WISHES
from tests.model_server import ModelServer, answer_for, completion, model_server
from tests.unit.test_blocks import texts_of

CATALOGUE = load_catalogue(Path("deploy/actions.yaml"))
CALIBRATION = load_calibration(None)
PLACES = (
    "message", "label", "service", "error_type", "environment", "source", "metric", "id", "link", "fingerprint",
    "incident", "incident_id", "incident_action",
)  # fmt: skip
UNTOLD = {"id", "link"}
"""Fields that no model is told."""
LIVE = re.compile(r"<[!@#]|<https?:|<mailto:|<javascript:", re.IGNORECASE)
LINK = re.compile(r"https?:|www\.|(?:javascript|data|mailto|sms|sip|callto|facetime|magnet):(?=\S)", re.IGNORECASE)

OURS = {"Symptom", "Recommended action", "Ask a human", "Confidence", "Evidence", "Situation"}
UNSEEN = re.compile(
    "[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\ufff9-\ufffb\u180b-\u180f\u2d7f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e01ef]"
)
MARKS = "".join(chr(n) for n in range(0x300, 0x10000) if unicodedata.category(chr(n)) in {"Mn", "Me"})
PILE = re.compile(f"[{MARKS}]{{5}}")
TURN = re.compile(r"<\|?[\w/\uff5c]|\[/?[A-Z]")
"""What a turn begins with in the chat templates of models."""
SIGNALS = Signals(similarity=0.9, margin=0.3, coverage=0.9, exact=1, agreement=1, clearance=0.3, lead=0.5)


def attacked(place: str, text: str) -> EnrichedAnomaly:
    fields: dict[str, Any] = {"error_type": "timeout", "service": "payments", "severity": "critical"}
    title = summary = "pool exhausted"
    nearest, done = "inc-1", Action("scale_out", "payments", {"factor": 2})
    if place == "message":
        fields["message"] = text
    elif place == "label":
        fields["labels"] = {"note": text, text[:200]: "x"}
    elif place == "incident":
        title, summary = text[:1024], text
    elif place == "incident_id":
        nearest = text[:256]
    elif place == "incident_action":
        done = Action("reroute_traffic", text, {"destination": text, text: text})
    elif place == "metric":
        fields["metric"] = Metric(name=text, value=1.0, unit=text)
    else:
        fields[place] = text[:256]
    evidence = [
        Evidence(nearest, title, 0.9, done, "resolved", summary),
        Evidence("inc-2", title, 0.5, Action("reroute_traffic", "payments"), "resolved", summary),
    ]
    return EnrichedAnomaly(
        anomaly=Anomaly(**fields), anomaly_id="a", fingerprint="f", episode_id="e", revision=1, evidence=evidence,
        signals=SIGNALS, received_at=datetime.now(UTC), timings={},
    )  # fmt: skip


def composed(enriched: EnrichedAnomaly, advice: Advice) -> Decision:
    return compose("dec_1", enriched, advice, CATALOGUE, 1, 1.0, datetime.now(UTC), shadow=False)


class Obedient:
    """A model that answers ``changes``, or ``text``, whatever it is asked."""

    def __init__(self, llm: Llm, server: ModelServer) -> None:
        self.llm = llm
        self.server = server
        self.changes: dict[str, Any] = {}
        self.text: str | None = None

    async def decision(self, enriched: EnrichedAnomaly) -> Decision:
        self.server.asked.clear()
        advice = await advised(enriched, CATALOGUE, CALIBRATION, 0.0, self.llm, [])
        return composed(enriched, advice)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[Obedient]:
    async def behave(_: Any, asked: dict[str, Any], __: int) -> Any:
        return completion(answer_for(asked, **played.changes) if played.text is None else played.text)

    async with model_server(behave) as server:
        configured = replace(
            settings.read({}), llm_model="openai/played", llm_api_base=server.url, llm_cache_seconds=0,
            llm_requests_per_minute=0, llm_tokens_per_minute=0, llm_daily_usd=0,
        )  # fmt: skip
        llm = open_llm(configured)
        assert llm is not None
        played = Obedient(llm, server)
        yield played
        await llm.close()


def harmless(decision: Decision, enriched: EnrichedAnomaly) -> None:
    """What holds for every decision, whoever wrote what."""
    CATALOGUE.check(decision.action)
    assert decision.action.target == enriched.anomaly.service
    assert decision.action.name in {"scale_out", "reroute_traffic", "escalate_to_human"}
    assert decision.severity == enriched.anomaly.severity
    places = {item.incident_id: place for place, item in enumerate(enriched.evidence)}
    assert decision.matched_incident in {None, *places}
    sure = trust(SIGNALS, CALIBRATION)
    did = next((item for item in enriched.evidence if item.action and item.action.name == decision.action.name), None)
    assert 0 <= decision.confidence_score <= round(sure.right * (did.score / 0.9 if did else 1), 4)
    members = [Member(decision.error_type, going_on=True)] * 2
    for shown in (render(decision, members), render_update([decision], decision, members), render_digest([decision])):
        assert not re.search(r"[<>*~`\uff0a\uff3f\uff40\uff5e]|(?<![^\W_])_|:[^\s:]{1,100}:", shown["text"])
        texts = [item for block in shown["blocks"] for item in texts_of(block)]
        assert {item["text"] for item in texts if "style" in item} <= OURS
        assert "mrkdwn" not in {item["type"] for item in texts}
        said = json.dumps(shown, ensure_ascii=False)
        assert not UNSEEN.search(said)
        assert not PILE.search(said)
        assert len(said) < 16_000
    assert decision_line(decision).count("\n") == 1


def test_there_are_enough_attacks():
    """Four hundred and fifty and more, each in every place; and a hundred and fifty answers."""
    assert len(ATTACKS) > 460
    assert len(WISHES) + len(TEXTS) >= 150


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_stays_data(name: str, place: str):
    """The user turn is one JSON object, bounded, without anything unseen; none of it is in the system turn."""
    asked = question(attacked(place, ATTACKS[name]), CATALOGUE)
    if place in UNTOLD:
        assert asked == question(attacked(place, "nothing"), CATALOGUE)
    data = json.loads(asked)
    assert set(data) == {"anomaly", "evidence", "actions"}
    told = schema_of(attacked(place, ATTACKS[name]), CATALOGUE)["properties"]["matched_incident"]["anyOf"][0]["enum"]
    assert [item["incident_id"] for item in data["evidence"]] == told
    assert all(re.fullmatch(r"[\w.:/#@+-]{1,100}", one) for one in told)
    first, *others = [item["incident_id"] for item in data["evidence"]]
    assert others == ["inc-2"]
    assert first == "inc-1" or place == "incident_id"
    assert set(data["actions"]) == set(CATALOGUE.names)
    assert len(asked) < 30_000
    assert all(c.isprintable() for c in asked)
    assert not UNSEEN.search(asked)
    assert not PILE.search(asked)
    assert not TURN.search(asked)
    assert ATTACKS[name] not in PROMPT


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_model_that_repeats_the_attack_does_no_harm(model: Obedient, name: str):
    """Its rationale carries no live link, mention or markup; action, target and severity are not the attacker's."""
    model.changes, model.text = {"rationale": f"inc-1: {ATTACKS[name][:1500]}"}, None
    enriched = attacked("message", ATTACKS[name])
    decision = await model.decision(enriched)
    harmless(decision, enriched)
    assert decision.engine == "llm"
    assert not LINK.search(decision.rationale)
    assert not LIVE.search(decision.rationale)
    assert not re.search(r"[<>`]|@\w", decision.rationale)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", ["message", "label", "service", "error_type", "incident"])
@pytest.mark.parametrize("wish", WISHES)
async def test_a_model_that_obeys_is_overruled(model: Obedient, wish: str, place: str):
    """The wish is refused, the rule decides, and says that the model's answer was refused."""
    model.changes, model.text = {"rationale": "inc-1 <!channel> https://evil.example"} | WISHES[wish], None
    enriched = attacked(place, ATTACKS["override"])
    decision = await model.decision(enriched)
    harmless(decision, enriched)
    assert decision.engine == "nearest"
    assert "refused" in (decision.fallback_reason or "")
    assert "evil" not in (decision.fallback_reason or "") + decision.rationale.replace(ATTACKS["override"], "")
    first, repaired = [asked["messages"][0]["content"] for asked in model.server.asked]
    assert PROMPT in first
    assert "evil" not in repaired


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", TEXTS)
async def test_what_is_no_answer_does_no_harm(model: Obedient, name: str):
    """Whatever a model writes instead of an answer, the rule decides."""
    model.text = TEXTS[name]
    enriched = attacked("message", ATTACKS["override"])
    decision = await model.decision(enriched)
    harmless(decision, enriched)
    assert decision.engine == "nearest"
    assert decision.action == Action("scale_out", "payments", {"factor": 2})


@pytest.mark.asyncio(loop_scope="module")
async def test_an_action_is_trusted_as_far_as_who_did_it(model: Obedient):
    """To cite the nearest incident for what was done in another one lends the action no confidence."""
    enriched = attacked("message", ATTACKS["override"])
    said = {}
    for cited in ("inc-1", "inc-2"):
        model.text = None
        model.changes = {
            "action": "reroute_traffic", "parameters": {}, "matched_incident": cited, "confidence": 1.0,
            "rationale": f"As in {cited}.",
        }  # fmt: skip
        decision = await model.decision(enriched)
        harmless(decision, enriched)
        assert decision.engine == "llm"
        said[cited] = decision.confidence_score
    assert said["inc-1"] == said["inc-2"] < trust(SIGNALS, CALIBRATION).right * 0.6


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("place", ["incident", "incident_id", "incident_action"])
async def test_an_attack_in_stored_knowledge_does_no_harm(name: str, place: str):
    """The rule repeats no words of a stored incident's action."""
    enriched = attacked(place, ATTACKS[name])
    decision = composed(enriched, await advised(enriched, CATALOGUE, CALIBRATION, 0.0, None, []))
    harmless(decision, enriched)
    assert not LINK.search(decision.recommended_action)
    assert not LIVE.search(decision.recommended_action)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_id_that_hides_something_can_be_named_nevertheless(model: Obedient):
    """The model is told its place instead; the decision names the incident by its id."""
    name = f"disk{ATTACKS['tags']} of bob@example.com"
    enriched = attacked("incident_id", name)
    model.changes, model.text = {}, None
    decision = await model.decision(enriched)
    assert decision.engine == "llm"
    assert decision.matched_incident == name[:256]
    (asked,) = model.server.asked
    assert "bob@" not in json.dumps(asked)
    assert not UNSEEN.search(json.dumps(asked, ensure_ascii=False))


def test_many_labels_do_not_make_a_long_question():
    """Fifty labels of thousands of characters each, and a stored action with as many parameters, stay affordable."""
    flood = {f"{n}{'k' * 3000}": "v" * 3000 for n in range(60)}
    one = attacked("message", "x")
    anomaly = msgspec.structs.replace(one.anomaly, labels=flood, message="m" * 60_000)
    evidence = [
        msgspec.structs.replace(item, action=Action("scale_out", "payments", dict(flood)), summary="s" * 9000)
        for item in one.evidence * 3
    ]
    asked = question(msgspec.structs.replace(one, anomaly=anomaly, evidence=evidence), CATALOGUE)
    assert len(asked) < 60_000


def test_the_page_writes_text_only():
    """No script of the dashboard turns text into markup, and none makes a link of a decision's text."""
    for script in Path("pipeline/gateway/dashboard").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.href\s*=", script.read_text()
        )


def test_the_page_hides_what_the_model_is_not_told():
    """Each character that counts as printable and shows nothing."""
    script = Path("pipeline/gateway/dashboard/text.js").read_text()
    (listed,) = re.findall(r"HIDDEN = /\[\\p\{Cc\}\\p\{Cf\}(.*)\]/gu", script)
    as_python = re.sub(r"u[{]([0-9a-f]{5})[}]", r"U000\1", listed)
    hidden = re.compile(f"[{as_python}]")
    for character in map(chr, [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]):
        assert bool(hidden.fullmatch(character)) == bool(_BLANK.fullmatch(character))


def test_words_of_no_harm_stay_as_they_are():
    """Times, ports, percentages and paths are no links."""
    for text in (
        "As in inc-1: at 12:30 pool on db:5432 was 100 % full, /var/log grew (ratio 3:1).",
        "The data: corrupted; the file: /var/log/x; metadata:y is fine; http: 500 of 7, tel: none.",
    ):
        assert tamed(text) == text


def test_secrets_leave_in_no_question():
    """Not from a message, a label's value, a label's name or a stored incident; ids stay as they are."""
    secret = "password=hunter2hunter2 AKIAIOSFODNN7EXAMPLE bob@example.com"
    for place in PLACES:
        asked = question(attacked(place, secret), CATALOGUE)
        assert not re.search("hunter2|AKIA|bob@", asked)
        if place in {*UNTOLD, "incident_id"}:
            continue
        assert "hunter2" in question(attacked(place, secret), CATALOGUE, redact=False)
    one = attacked("label", "x")
    for name in ("db_password", "db_pass\u200bword"):
        named = msgspec.structs.replace(one, anomaly=msgspec.structs.replace(one.anomaly, labels={name: "abc"}))
        assert "abc" not in question(named, CATALOGUE)


@pytest.mark.parametrize(
    ("name", "value"),
    {"pin": "4711", "phone": "030 901820", "Authorization": "Splunk 0123456789abcdef01234567", "ssn": "123456789",
     "db_password_old": "swordfish", "token_v2": "swordfish", "NHS number": "943 476 5919"}.items(),
)  # fmt: skip
def test_a_label_is_read_with_its_name(name: str, value: str):
    """What only its name makes a secret is one; what no name makes one stays."""
    one = attacked("label", "x")
    asked = question(
        msgspec.structs.replace(one, anomaly=msgspec.structs.replace(one.anomaly, labels={name: value})), CATALOGUE
    )
    assert value not in asked
    assert "[redacted:" in asked
    plain = msgspec.structs.replace(one.anomaly, labels={"build": value})
    assert value in question(msgspec.structs.replace(one, anomaly=plain), CATALOGUE) or name == "Authorization"


@pytest.mark.parametrize(("place", "looked_at"), [("message", 8000), ("label", 800)])
def test_a_secret_that_is_cut_in_two_leaves_with_neither_half(place: str, looked_at: int):
    """A long key before it makes room for it among what is told; it stands where no more is looked at."""
    key = f"-----BEGIN PRIVATE KEY-----\n{'QUJD' * (looked_at // 4 - 50)}\n-----END PRIVATE KEY-----\n"
    for before in range(looked_at - 30, looked_at + 30, 4):
        text = key + ("x " * looked_at)[: before - len(key)] + f" ghp_{'aB3' * 12}"
        assert "ghp_" not in question(attacked(place, text), CATALOGUE)
