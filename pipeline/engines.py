"""`pulseguard eval --engine llm`: the model over the very evidence that the rule was judged on, case by case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.confidence import Trust
from pipeline.errors import Misconfigured
from pipeline.evaluate import Outcome, places_of
from pipeline.replay import RULE, Answered, answered, conditions, effort
from pipeline.settings import Settings
from schemas import EnrichedAnomaly

_SHOWN = 5
"""How many incidents `enrich` gives an engine as evidence."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of each case when ``model`` decided, and what that took, by name."""

    model: str
    outcomes: list[Outcome]
    effort: dict[str, Any]


async def by_model(
    settings: Settings, found: Sequence[Outcome], model: str | None, prompt: Path | None = None
) -> Decided:  # fmt: skip
    """The cases of ``found`` decided by ``model`` (None: LLM_MODEL), or by the rule where it fails, as in the pipeline.

    ``prompt``: the file of another system prompt.
    Raises `Misconfigured` where no model is named.
    """
    now, who = await conditions(settings, named(settings, model), prompt)
    try:
        answers = await answered([_enriched(outcome) for outcome in found], now)
    finally:
        if now.llm is not None:
            await now.llm.close()
    return Decided(who, [_outcome(*pair) for pair in zip(found, answers, strict=True)], effort(answers))


def named(settings: Settings, model: str | None) -> str:
    """The model that is meant. Raises `Misconfigured` where none is named."""
    name = model or settings.llm_model
    if name is None or name == RULE:
        raise Misconfigured("LLM_MODEL", "names no model, and --engine llm needs one", "set it, or name one by --model")
    return name


def _enriched(outcome: Outcome) -> EnrichedAnomaly:
    name = outcome.case.id
    return EnrichedAnomaly(
        anomaly=outcome.case.anomaly, anomaly_id=name, fingerprint=name, episode_id=name, revision=1,
        evidence=list(outcome.evidence[:_SHOWN]), signals=outcome.signals, received_at=datetime.now(UTC), timings={},
    )  # fmt: skip


def _outcome(was: Outcome, answer: Answered) -> Outcome:
    """The incident that the advice rests on counts as the first: it is what the engine takes for the right one."""
    advice = answer.advice
    evidence = sorted(was.evidence, key=lambda item: item.incident_id != advice.matched_incident)
    places = places_of(evidence, was.case.relevant)
    right = advice.confidence
    return replace(
        was, rank=places[0] if places else None, relevant_found=places, evidence=evidence,
        trust=Trust(max(was.trust.relevant, right), right), asks=advice.verdict == "escalate",
        action=advice.action.name, seconds=was.seconds + answer.ms / 1000, cost_usd=effort([answer])["cost_usd"],
    )  # fmt: skip
