"""`pulseguard replay`: past episodes decided again under what is in force now. It publishes and writes nothing."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.confidence import Calibration, load_calibration, percent
from pipeline.console import err, json_line, plain
from pipeline.embedding import open_embedder
from pipeline.errors import Rejected
from pipeline.llm import Llm, open_llm
from pipeline.measure import fresh_index
from pipeline.nearest import Advice
from pipeline.settings import Settings
from pipeline.stages.decide import advised
from pipeline.stages.enrich import ms
from pipeline.stages.record import Record
from pipeline.words import query_of
from schemas import Decision, EnrichedAnomaly, Explanation, ModelCall, Usage

RULE = "nearest"
"""In the place of a model's name: the nearest-incident rule."""
AT_ONCE = 8
_A_POINT = 0.01


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the decisions are made with, this time."""

    catalogue: Catalogue
    calibration: Calibration
    least: float
    llm: Llm | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions, and what is to be other than then. ``fresh``: with evidence out of today's knowledge."""

    since: datetime
    until: datetime | None
    limit: int
    model: str | None
    prompt: Path | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """Advice that nobody is given, the questions to the model that it took, and the milliseconds."""

    advice: Advice
    calls: Sequence[ModelCall]
    ms: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision as it was made, and what comes of it now."""

    before: Decision
    now: Answered

    @property
    def after(self) -> Advice:
        """The advice of now."""
        return self.now.advice

    @property
    def changed(self) -> list[str]:
        """Which of verdict, action and confidence differ; a confidence by a point of percentage at least."""
        before, after = self.before, self.after
        differ = {
            "verdict": before.verdict != after.verdict,
            "action": before.action != after.action,
            "confidence": abs(before.confidence_score - after.confidence) >= _A_POINT,
        }
        return [name for name, differs in differ.items() if differs]


async def report(settings: Settings, record: Record, wanted: Wanted, out: Console, *, as_json: bool) -> None:
    """Read, decide again, and print what would change."""
    now, who = await conditions(settings, wanted.model, wanted.prompt)
    try:
        decided, more = await past(record, wanted.since, wanted.until, wanted.limit)
        asked = [(one.decision, enriched) for one in decided if (enriched := enriched_of(one))]
        if wanted.fresh:
            asked = await searched(asked, settings, record)
        with err.status(f"deciding {len(asked)} again …"):
            answers = await answered([enriched for _, enriched in asked], now)
        replayed = [Replayed(before, answer) for (before, _), answer in zip(asked, answers, strict=True)]
    finally:
        if now.llm is not None:
            await now.llm.close()
    told = {"decided_by": who, **summary(replayed), "left_out": len(decided) - len(asked)}
    if told["changed"]:
        out.print(changes(replayed, now.catalogue))
    out.print(figures(told))
    if told["left_out"]:
        out.print(f"{told['left_out']} left out: their anomaly is no longer kept.")
    if more:
        out.print(f"These are the newest {wanted.limit}; there are more: --limit.")
    if as_json:
        changed = [row_of(one) for one in replayed if one.changed]
        sys.stdout.write(json_line(told | {"more": more, "decisions": changed}))


async def conditions(settings: Settings, model: str | None, prompt: Path | None) -> tuple[Conditions, str]:
    """What the settings say, another ``model`` and system ``prompt`` where named; and who decides, in words."""
    name = settings.llm_model if model is None else None if model == RULE else model
    if prompt is not None and name is None:
        raise Rejected("a prompt is for a model, and none is named: --model NAME, or LLM_MODEL")
    text = None if prompt is None else await asyncio.to_thread(prompt_of, prompt)
    llm = await asyncio.to_thread(open_llm, replace(settings, llm_model=name), prompt=text)
    who = "the nearest-incident rule" if name is None else name + (f", prompt {prompt.name}" if prompt else "")
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    return Conditions(catalogue, calibration, settings.min_confidence, llm), who


def prompt_of(file: Path) -> str:
    """A system prompt. Raises `Rejected` where the file is no text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise Rejected(f"{file}: is not UTF-8, from byte {exc.start} on") from exc


async def past(record: Record, since: datetime, until: datetime | None, limit: int) -> tuple[list[Explanation], bool]:
    """The newest decisions of that time, oldest first; and whether there are more than ``limit``."""
    found = await record.explanations(since=since, until=until, limit=limit + 1)
    return found[:limit][::-1], len(found) > limit


async def answered(asked: Sequence[EnrichedAnomaly], now: Conditions) -> list[Answered]:
    """What is advised on each, a few at once."""
    # Not all at once: who waits for a place of the model's would use up the time for its answer.
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(enriched: EnrichedAnomaly) -> Answered:
        calls: list[ModelCall] = []
        async with places:
            started = perf_counter()
            advice = await advised(enriched, now.catalogue, now.calibration, now.least, now.llm, calls)
            return Answered(advice, calls, ms(started, perf_counter()))

    return await asyncio.gather(*(ask(enriched) for enriched in asked))


async def searched(
    asked: Sequence[tuple[Decision, EnrichedAnomaly]], settings: Settings, record: Record
) -> list[tuple[Decision, EnrichedAnomaly]]:
    """The same with evidence out of today's knowledge, from an index that goes with it: no server's is touched."""
    embedder = await asyncio.to_thread(open_embedder, settings)
    async with fresh_index(settings, embedder) as index:
        await index.sync(record)
        found = [(await index.search([query_of(enriched.anomaly)]))[0] for _, enriched in asked]
    return [
        (before, msgspec.structs.replace(enriched, evidence=now.evidence, signals=now.signals))
        for (before, enriched), now in zip(asked, found, strict=True)
    ]


def enriched_of(one: Explanation) -> EnrichedAnomaly | None:
    """What `decide` was given then; None where the anomaly is no longer kept."""
    was = one.decision
    if one.anomaly is None or one.received_at is None:
        return None
    return EnrichedAnomaly(
        anomaly=one.anomaly, anomaly_id=was.anomaly_id, fingerprint=was.fingerprint, episode_id=was.episode_id,
        revision=was.revision, situation_id=was.situation_id, evidence=was.evidence, signals=was.signals,
        received_at=one.received_at, timings={},
    )  # fmt: skip


def summary(replayed: Sequence[Replayed]) -> dict[str, Any]:
    """How many would change and in what, how often the model failed, and what it all cost (None: not known)."""
    return {
        "replayed": len(replayed),
        "changed": sum(bool(one.changed) for one in replayed),
        **{f"changed_{name}": sum(name in one.changed for one in replayed)
           for name in ("verdict", "action", "confidence")},
        **effort([one.now for one in replayed]),
    }  # fmt: skip


def effort(answers: Sequence[Answered]) -> dict[str, Any]:
    """How often the model failed and why, and what answers took: calls, tokens, cost and time."""
    spent = spent_on([call for one in answers for call in one.calls])
    took = sorted(one.ms for one in answers)
    failures = Counter(one.advice.fallback_reason for one in answers if one.advice.fallback_reason is not None)
    return {
        "model_failed": failures.total(),
        "model_failures": dict(failures.most_common()),
        "model_calls": sum(len(one.calls) for one in answers),
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost_usd": spent.cost_usd,
        "decide_ms_median": took[len(took) // 2] if took else None,
    }


def spent_on(calls: Sequence[ModelCall]) -> Usage:
    """What calls cost together, also those whose answer was not taken; None as soon as one's cost is not known."""
    costs = [call.usage.cost_usd for call in calls]
    return Usage(
        sum(call.usage.prompt_tokens for call in calls),
        sum(call.usage.completion_tokens for call in calls),
        None if None in costs else sum(cost or 0.0 for cost in costs),
    )


def figures(told: dict[str, Any]) -> Table:
    """Names and values, one a row."""
    table = Table(show_header=False)
    for name, value in told.items():
        if isinstance(value, dict):  # reasons and how often each
            for reason, count in value.items():
                table.add_row("", plain(f"{count}: {reason}"))
        else:
            table.add_row(name.replace("_", " "), "not known" if value is None else plain(str(value)))
    return table


def row_of(one: Replayed) -> dict[str, Any]:
    """One of them for `--json`."""
    before, after = one.before, one.after
    return {
        "id": before.id, "created_at": before.created_at, "symptom": before.symptom, "changed": one.changed,
        "before": {"verdict": before.verdict, "action": before.action, "confidence": before.confidence_score,
                   "matched_incident": before.matched_incident, "engine": before.engine},
        "after": {"verdict": after.verdict, "action": after.action, "confidence": after.confidence,
                  "matched_incident": after.matched_incident, "engine": after.engine, "rationale": after.rationale,
                  "fallback_reason": after.fallback_reason},
    }  # fmt: skip


def changes(replayed: Sequence[Replayed], catalogue: Catalogue) -> Table:
    """Those that would change, oldest first."""
    table = Table("decision", "when (UTC)", "symptom", "was", "would be")
    for one in replayed:
        if one.changed:
            before, after = one.before, one.after
            was = f"{before.recommended_action} ({percent(before.confidence_score)})"
            would_be = f"{catalogue.sentence(after.action)} ({percent(after.confidence)})"
            table.add_row(before.id, f"{before.created_at:%m-%d %H:%M}", plain(before.symptom[:80]), plain(was),
                          plain(would_be))  # fmt: skip
    return table
