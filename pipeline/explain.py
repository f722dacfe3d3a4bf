"""`pulseguard explain`: a decision with all that it came of, for a terminal. Everything from outside is plain text."""

from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.confidence import features_of, percent
from pipeline.console import plain
from pipeline.errors import Rejected
from pipeline.stages.record import Record
from schemas import Decision, Explanation, ModelCall, Provenance

_NOT_KEPT = "not kept: it was decided before provenance was, or that has been deleted"


async def explained(record: Record, decision_id: str) -> Explanation:
    """What is known of a decision. Raises `Rejected` where there is none of this id."""
    found = await record.explanations(decision_id=decision_id)
    if not found:
        raise Rejected(f"no decision {decision_id}")
    return found[0]


def shown(explanation: Explanation) -> RenderableType:
    """The whole story, in the order in which it happened."""
    decision, provenance = explanation.decision, explanation.provenance
    parts: list[RenderableType] = [_headline(decision), _anomaly(explanation), _evidence(decision)]
    if provenance is None:
        parts.append(Panel(_NOT_KEPT, title="confidence, model", title_align="left"))
    else:
        parts += [_confidence(decision, provenance), *_calls(decision, provenance)]
    return Group(*parts, _timings(decision))


def _headline(decision: Decision) -> RenderableType:
    engine = decision.engine if decision.model is None else f"{decision.engine}: {decision.model}"
    if decision.prompt_version:
        engine += f", prompt {decision.prompt_version}"
    rows = {
        "symptom": decision.symptom,
        "verdict": f"{decision.verdict}, {percent(decision.confidence_score)} sure",
        "action": decision.recommended_action,
        "rests on": decision.matched_incident or "no past incident",
        "rationale": decision.rationale,
        "engine": engine,
        "model not used": decision.fallback_reason or "",
        "shadow": "on trial: nobody was notified" if decision.shadow else "",
        "episode": f"{decision.episode_id}, revision {decision.revision}, occurrences {decision.occurrences} by then",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "bold"), plain(value))
    return Panel(table, title=f"{decision.id}  {decision.created_at:%Y-%m-%d %H:%M:%S} UTC", title_align="left")


def _anomaly(explanation: Explanation) -> RenderableType:
    if explanation.anomaly is None:
        return Panel("no longer kept", title="anomaly", title_align="left")
    body = msgspec.json.format(msgspec.json.encode(explanation.anomaly), indent=2).decode()
    arrived = f", arrived {explanation.received_at:%H:%M:%S.%f}" if explanation.received_at else ""
    title = f"anomaly {explanation.decision.anomaly_id}"
    return Panel(plain(body), title=plain(title), subtitle=f"topic id/partition@offset {explanation.origin}{arrived}",
                 title_align="left", subtitle_align="left")  # fmt: skip


def _evidence(decision: Decision) -> RenderableType:
    table = Table("alike in meaning", "incident", "title", "what was done", "outcome",
                  title="evidence, best match first", title_justify="left")  # fmt: skip
    for item in decision.evidence:
        action = item.action.name if item.action else "-"
        name = item.incident_id + (" ←" if item.incident_id == decision.matched_incident else "")
        table.add_row(f"{item.score:.4f}", plain(name), plain(item.title), plain(action), item.outcome)
    return table if decision.evidence else Text("evidence: no past incident was known")


def _confidence(decision: Decision, provenance: Provenance) -> RenderableType:
    """Each signal's value, its weight and their product for both questions, down to the two probabilities."""
    asked = (provenance.relevant, provenance.right)
    table = Table("signal", "value", "is anything relevant?", "is the first right?", title="confidence",
                  title_justify="left")  # fmt: skip
    for name, value in features_of(decision.signals).items():
        products = (f"* {w.weights.get(name, 0.0):g} = {value * w.weights.get(name, 0.0):+.3f}" for w in asked)
        table.add_row(name, f"{value:g}", *products)
    table.add_row("intercept", "", *(f"{w.intercept:+.3f}" for w in asked), end_section=True)
    table.add_row("probability", "", *(f"{w.said:.4f}" for w in asked), style="bold")
    table.add_row("least to recommend", "", "", f"{provenance.least:g}")
    return Group(table, plain(f"calibration fitted on {provenance.fitted_on}"))


def _calls(decision: Decision, provenance: Provenance) -> Iterator[RenderableType]:
    if not provenance.calls:
        yield Text("model: none was asked; the nearest-incident rule decided")
    before: list[dict[str, str]] = []
    for number, call in enumerate(provenance.calls, 1):
        told = _call(call, before, f"the same as in call {number - 1}")
        before = call.messages
        yield Panel(told, title=f"model call {number} of {len(provenance.calls)}", title_align="left")
    if provenance.calls and decision.fallback_reason:
        yield Text("none of it was taken: the nearest-incident rule decided")


def _call(call: ModelCall, before: list[dict[str, str]], same: str) -> RenderableType:
    parts: list[RenderableType] = []
    for turn in call.messages:
        content = Text(same, "italic") if turn in before else plain(turn.get("content", ""))
        parts += [Text(turn.get("role", "?"), "bold"), content]
    parts += [Text("answer", "bold"), plain("none" if call.answer is None else call.answer)]
    cost = "cost unknown" if call.usage.cost_usd is None else f"{call.usage.cost_usd:.6f} USD"
    took = "" if call.ms is None else f", {call.ms:.0f} ms"
    tokens = f"{call.usage.prompt_tokens} + {call.usage.completion_tokens} tokens"
    parts += [Text("checked", "bold"), plain(call.outcome), Text(f"{tokens}, {cost}{took}, form {call.form or 'none'}")]
    return Group(*parts)


def _timings(decision: Decision) -> RenderableType:
    table = Table("stage", "ms", title="timings", title_justify="left")
    for name, value in decision.timings.items():
        table.add_row(plain(name), f"{value:.2f}")
    waited = max(decision.latency_ms - sum(decision.timings.values()), 0.0)
    table.add_row("waiting and on the way", f"{waited:.2f}", end_section=True)
    table.add_row("arrival to decision", f"{decision.latency_ms:.2f}", style="bold")
    return table
