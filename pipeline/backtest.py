"""`pulseguard backtest`: a team's own past in its order, each incident asked about with only the earlier ones known.

Asked is with what monitoring would have said: error type, service and symptoms. Not shown are cause, mitigation and
action; nor the title, where there are symptoms: it is often written by one who knows the cause.
"""

import asyncio
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.calibrate import Sample, borne_out, first_borne_out
from pipeline.confidence import percent
from pipeline.console import PassedOver, err, json_line, plain
from pipeline.embedding import open_embedder
from pipeline.errors import Rejected
from pipeline.index import Index
from pipeline.knowledge import read_incidents
from pipeline.measure import fresh_index
from pipeline.replay import Answered, answered, conditions, effort, figures
from pipeline.settings import Settings
from pipeline.words import query_of, words
from schemas import Anomaly, EnrichedAnomaly, Incident

SHOWN = 40
"""Rows of the table; ``--json`` has all."""
_CHANCE = 0.025
"""What is rarer on its side, at either one, is no chance: together one time of twenty at most."""
_SHARES = ("coverage", "same_action_share", "same_kind_share", "mean_confidence")


@dataclass(frozen=True, slots=True)
class Tried:
    """One incident and what would have been said. ``known``: what helped in it had helped in an earlier one."""

    incident: Incident
    answer: Answered
    matched: Incident | None
    known: bool

    @property
    def recommended(self) -> bool:
        """Whether an action was advised at all."""
        return self.answer.advice.verdict == "recommend"

    @property
    def right(self) -> bool | None:
        """Whether the advice is the action that was taken and did not fail; None where nobody can say."""
        if not self.recommended:
            return None
        return borne_out(self.answer.advice.action.name, self.incident.action, worked=_worked(self.incident))

    @property
    def same_kind(self) -> bool | None:
        """Whether the advice rests on an incident of the same error type; None where one of them names none."""
        if self.matched is None or not self.matched.error_type or not self.incident.error_type:
            return None
        return words(self.matched.error_type) == words(self.incident.error_type)


async def report(settings: Settings, history: Path, model: str | None, out: Console, *, as_json: bool) -> None:
    """Replay, and print what would have been said. Raises `Rejected` for a history that has no order.

    A file of a folder that cannot be read is passed over, as `incidents load` does.
    """
    passed_over = PassedOver()
    incidents, dated = _read(history, passed_over)
    now, who = await conditions(settings, model, None)
    try:
        with err.status(f"asking about {len(dated)} incidents, each with the earlier ones …"):
            asked = await evidence(settings, dated)
            answers = await answered(asked, now)
    finally:
        if now.llm is not None:
            await now.llm.close()
    tried = list(tries(dated, answers))
    told = {"decided_by": who, "incidents": len(incidents), "without_a_time": len(incidents) - len(dated)} | summary(
        tried
    )
    out.print(said(tried[-SHOWN:]))
    if len(tried) > SHOWN:
        out.print(f"These are the newest {SHOWN} of {len(tried)}: --json has all.")
    out.print(figures({name: _shown(name, value) for name, value in told.items()}))
    if not holds(tried):
        learn = f"`pulseguard calibrate --history {history} --write FILE` fits it on this past."
        out.print(plain(f"The confidence does not hold here: {learn}"), soft_wrap=True)
    if as_json:
        sys.stdout.write(json_line(told | {"tries": [row_of(one) for one in tried]}))
    passed_over.settle()


async def samples(settings: Settings, history: Path) -> list[Sample]:
    """What a past teaches of confidence: of each incident, whether the nearest of the earlier ones says what helped.

    Raises as `report` does.
    """
    passed_over = PassedOver()
    _, dated = _read(history, passed_over)
    asked = await evidence(settings, dated)
    passed_over.settle()
    return [
        Sample(_kind(incident), one.signals, None, right)
        for incident, one in zip(dated, asked, strict=True)
        if (right := first_borne_out(one.evidence, incident.action, worked=_worked(incident))) is not None
    ]


def _read(history: Path, passed_over: PassedOver) -> tuple[list[Incident], list[Incident]]:
    """All incidents, and those that have an order in it."""
    incidents = read_incidents(history, passed_over)
    dated = in_order(incidents)
    if len(dated) < 2:  # noqa: PLR2004 - the first has nothing before it
        raise Rejected(f"{history}: {len(dated)} of {len(incidents)} incidents say when they were (occurred_at)")
    return incidents, dated


def _kind(incident: Incident) -> str:
    """The same for what comes again: what one of them teaches is not new to another."""
    return f"{words(incident.error_type)} {incident.service or ''}" if incident.error_type else incident.id


def _worked(incident: Incident) -> bool:
    return incident.outcome != "failed"


def in_order(incidents: Sequence[Incident]) -> list[Incident]:
    """Those that say when they were, oldest first."""
    dated = [(incident.occurred_at, incident.id, incident) for incident in incidents if incident.occurred_at]
    return [incident for _, _, incident in sorted(dated, key=lambda item: item[:2])]


def anomaly_of(incident: Incident) -> Anomaly:
    """What monitoring would have said of it."""
    message = incident.symptoms or incident.title
    return Anomaly(
        error_type=incident.error_type or "alert", service=incident.service, message=message,
        occurred_at=incident.occurred_at,
    )  # fmt: skip


async def evidence(settings: Settings, dated: Sequence[Incident]) -> list[EnrichedAnomaly]:
    """Each one with the nearest of those that were strictly earlier, from an index that grows with them."""
    embedder = await asyncio.to_thread(open_embedder, settings)
    async with fresh_index(settings, embedder) as index:
        return [await _asked(index, incident, passed) for incident, passed in _in_turn(dated)]


def tries(dated: Sequence[Incident], answers: Sequence[Answered]) -> Iterator[Tried]:
    """Each incident with what would have been said."""
    by_id = {incident.id: incident for incident in dated}
    helped: set[str] = set()
    for (incident, passed), answer in zip(_in_turn(dated), answers, strict=True):
        helped |= {before.action.name for before in passed if before.action and _helped(before)}
        known = incident.action is not None and _helped(incident) and incident.action.name in helped
        yield Tried(incident, answer, by_id.get(answer.advice.matched_incident or ""), known)


def summary(tried: Sequence[Tried]) -> dict[str, Any]:
    """How often it would have advised, how often rightly, and at what cost. Shares are None of nothing."""
    advised = [one for one in tried if one.recommended]
    judged = [one for one in advised if one.right is not None]
    kinds = [one.same_kind for one in advised if one.same_kind is not None]
    known = [one for one in tried if one.known]
    return {
        "asked": len(tried),
        "recommended": len(advised),
        "escalated": len(tried) - len(advised),
        "coverage": _share(len(advised), len(tried)),
        "judged": len(judged),
        "same_action": sum(one.right is True for one in judged),
        "same_action_share": _share(sum(one.right is True for one in judged), len(judged)),
        "mean_confidence_of_judged": _share(sum(one.answer.advice.confidence for one in judged), len(judged)),
        "kind_judged": len(kinds),
        "same_kind": sum(kinds),
        "same_kind_share": _share(sum(kinds), len(kinds)),
        "could_be_known": len(known),
        "could_be_known_and_right": sum(one.right is True for one in known),
        "could_be_known_but_escalated": sum(not one.recommended for one in known),
        **effort([one.answer for one in tried]),
    }


def holds(tried: Sequence[Tried]) -> bool:
    """Whether as many are right as the confidence said, give or take chance: independent draws, each of its own p.

    Counted out, not by a normal curve: with few, or sure, ones that would call chance what happens one time of five.
    """
    judged = [(one.answer.advice.confidence, one.right) for one in tried if one.right is not None]
    odds = np.ones(1)  # of none right, one right, …
    for sure, _ in judged:
        odds = np.convolve(odds, (1 - sure, sure))
    right = sum(right for _, right in judged)
    return bool(min(odds[: right + 1].sum(), odds[right:].sum()) >= _CHANCE)


def row_of(one: Tried) -> dict[str, Any]:
    """One of them for `--json`."""
    advice = one.answer.advice
    return {
        "incident": one.incident.id, "occurred_at": one.incident.occurred_at, "verdict": advice.verdict,
        "action": advice.action, "confidence": advice.confidence, "matched_incident": advice.matched_incident,
        "done": one.incident.action, "outcome": one.incident.outcome, "right": one.right, "same_kind": one.same_kind,
        "could_be_known": one.known, "rationale": advice.rationale, "fallback_reason": advice.fallback_reason,
    }  # fmt: skip


def said(tried: Sequence[Tried]) -> Table:
    """What would have been said, beside what was done; oldest first."""
    table = Table("when (UTC)", "incident", "would have said", "resting on", "was done", "right")
    for one in tried:
        advice, done = one.answer.advice, one.incident.action
        word = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[one.right]
        was = "-" if done is None else f"{done.name} ({one.incident.outcome})"
        told = f"{advice.action.name} ({percent(advice.confidence)})" if one.recommended else "ask a human"
        when = f"{one.incident.occurred_at:%Y-%m-%d %H:%M}"
        table.add_row(
            when, plain(one.incident.id), plain(told), plain(advice.matched_incident or "-"), plain(was), word
        )
    return table


async def _asked(index: Index, incident: Incident, passed: Sequence[Incident]) -> EnrichedAnomaly:
    await index.add(passed)
    anomaly = anomaly_of(incident)
    (found,) = await index.search([query_of(anomaly)])
    return EnrichedAnomaly(
        anomaly=anomaly, anomaly_id=incident.id, fingerprint=incident.id, episode_id=incident.id, revision=1,
        evidence=found.evidence, signals=found.signals, received_at=_when(incident), timings={},
    )  # fmt: skip


def _in_turn(dated: Sequence[Incident]) -> Iterator[tuple[Incident, Sequence[Incident]]]:
    """Each with those that are strictly earlier, and were not so for the one before it."""
    before = 0
    for incident in dated:
        until = bisect_left(dated, _when(incident), before, key=_when)
        yield incident, dated[before:until]
        before = until


def _when(incident: Incident) -> datetime:
    assert incident.occurred_at is not None  # noqa: S101 - `in_order` saw to it
    return incident.occurred_at


def _helped(incident: Incident) -> bool:
    return incident.outcome in {"resolved", "mitigated"}


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _shown(name: str, value: Any) -> Any:
    return f"{value:.0%}" if value is not None and name.startswith(_SHARES) else value
