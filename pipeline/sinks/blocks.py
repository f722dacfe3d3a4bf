"""Decisions as Slack's Block Kit, cut within Slack's limits. No I/O.

What comes from outside stands in rich text, whose elements say themselves what is bold or a link, and in plain text:
Slack looks for no mark, mention, emoji or address in either. The one place that it does is what a notification shows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pipeline.confidence import percent
from pipeline.redact import visible
from pipeline.stages.episodes import rank
from pipeline.words import fault_of
from schemas import Decision

HEADER = 150
"""Characters: Slack's limit for a header."""
_MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_FIELD, _EVIDENCE = 1500, 3
_LINES, _MOST_LINES, _MOST_BESIDE, _NAMES = 8, 28, 10, 2000
"""Decisions of a block; that are told of one by one; beside a whole one; characters for the names of the others.

Together they stay below the some 13,000 that Slack takes of blocks as JSON (issues 2509 and 2867 of slackapi/bolt-js).
"""
_VERDICTS = {"accept": "Accept", "reject": "Reject", "correct": "Something else was done …"}
_ON_PAGE = "Open it on the page, and say whether it is right"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "*": "\u2217", "~": "\u223c", "`": "\u02cb"}
_ALIKE = {"_": "\u02cd", ":": "\u2236"}
_WIDE = str.maketrans("\uff0a\uff3f\uff40\uff5e", "*\u2e0f`~")
_MARK = re.compile(r"(?<![^\W_])_|:(?=[^\s:]{1,100}:)")
"""An underscore that is not within a word, and a colon that may begin the name of an emoji, which any word may be."""
Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """An episode of a situation, as a message speaks of it."""

    name: str
    going_on: bool


def escape(text: str, limit: int) -> str:
    """For a notification: Slack's three escapes, cut to ``limit`` characters, none of them in two. No markup survives.

    Slack knows no escape for its other marks: characters that look like them take their place.
    """
    out: list[str] = []
    used = 0
    for character in _MARK.sub(lambda found: _ALIKE[found[0]], _in_line(text).translate(_WIDE)):
        shown = _ESCAPES.get(character, character)
        if used + len(shown) > limit - 1:
            return "".join(out) + "…"
        out.append(shown)
        used += len(shown)
    return "".join(out)


def plain(text: str, limit: int) -> str:
    """One line of what can be seen, cut to ``limit``, for where Slack does not interpret it."""
    shown = _in_line(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _in_line(text: str) -> str:
    """What can be seen of it, as one line."""
    return visible(text).replace("\n", " ")


def trust(decision: Decision) -> str:
    """The confidence in words and percent."""
    level = "high" if decision.confidence_score >= 0.8 else "medium" if decision.confidence_score >= 0.5 else "low"  # noqa: PLR2004
    return f"{level} ({percent(decision.confidence_score)})"


def done_before(decision: Decision) -> str:
    """How the advised action did before, in a line of its own; empty where that is not known."""
    track = decision.track_record
    if track is None:
        return ""
    minutes = "" if track.recovery_minutes is None else f", median {track.recovery_minutes:g} min to recovery"
    return f"\nDone before: {track.times}, worked {track.worked}, failed {track.failed}{minutes}"


def title_of(decision: Decision) -> str:
    """What is wrong, in a line; not escaped."""
    mark = _MARKS.get(decision.severity or "", "⚪")
    return f"{mark} {fault_of(decision.error_type, decision.service)}"


def render(
    decision: Decision, members: Sequence[Member] = (), also: Sequence[Decision] = (), *, buttons: bool = False,
    page: str | None = None,
) -> Payload:  # fmt: skip
    """``text`` (the notification) and ``blocks`` of a head message.

    ``members``: the situation's episodes now; ``also``: its other decisions that nobody was told of yet; ``buttons``:
    whether verdicts can be given, which `pipeline.gateway.slack` takes; ``page``: the address of the page, where they
    can be given, too.
    """
    ask = "Ask a human" if decision.verdict == "escalate" else "Recommended action"
    over = bool(members) and not any(member.going_on for member in members)
    title = ("✅ over: " if over else "") + title_of(decision)
    blocks: list[dict[str, Any]] = [
        _header(title),
        _section("Symptom", f"\n{plain(decision.symptom, _FIELD)}"),
        _section(ask, f"\n{plain(decision.recommended_action, _FIELD)}{done_before(decision)}"),
        _section("Confidence", f" {trust(decision)}\n{plain(decision.rationale, _FIELD)}"),
    ]
    if decision.evidence:
        lines = [
            f"\n• {plain(item.incident_id, 80)}: {plain(item.title, 200)} "
            f"({item.outcome}; alike in meaning {item.score:.2f})"
            for item in decision.evidence[:_EVIDENCE]
        ]
        blocks.append(_section("Evidence", "".join(lines)))
    if len(members) > 1:
        going_on = sum(member.going_on for member in members)
        names = "" if also else "\n" + _names(member.name for member in members)
        blocks.append(_section("Situation", f" {len(members)} episodes, {going_on} going on{names}"))
    blocks += _listed(also, _MOST_BESIDE)
    if buttons:
        blocks.append({"type": "actions", "elements": [_button(verdict, decision.id) for verdict in _VERDICTS]})
    if page is not None and decision.situation_id is not None:
        blocks.append(_rich(_link(f"{page}?{urlencode({'situation': decision.situation_id})}", _ON_PAGE)))
    engine = decision.engine + (f", model not used: {decision.fallback_reason}" if decision.fallback_reason else "")
    facts = f"{decision.id} · {decision.latency_ms:.0f} ms · {engine} · occurrences {decision.occurrences}"
    blocks.append(_context(facts))
    return {"text": escape(f"{title}: {decision.recommended_action}", 400), "blocks": blocks}


def render_update(decisions: Sequence[Decision], head: Decision | None, members: Sequence[Member]) -> Payload:
    """What a situation has grown by since its head; with no decisions, a reminder that it goes on."""
    of = f" of {title_of(head)}" if head else ""
    going_on = sum(member.going_on for member in members)
    worst = max((decision.severity for decision in decisions), key=rank, default=None)
    worse = f"{_MARKS[worst]} " if worst and rank(worst) > rank(head.severity if head else None) else ""
    title = f"{worse}{len(decisions)} more{of}" if decisions else f"Still going on{of}"
    blocks = [_header(title), *_listed(decisions)]
    blocks.append(_context(f"{len(members)} episodes, {going_on} going on"))
    return {"text": escape(title, 400), "blocks": blocks}


def render_digest(decisions: Sequence[Decision]) -> Payload:
    """Everything that came while the channel was over its limit, the worst first."""
    situations = len({decision.situation_id or decision.id for decision in decisions})
    worst = max((decision.severity for decision in decisions), key=rank)
    where = "1 situation" if situations == 1 else f"{situations} situations"
    title = f"{_MARKS.get(worst or '', '⚪')} {len(decisions)} decisions in {where}"
    blocks = [_header(title), *_listed(decisions), _context("more came than this channel takes: one message for all")]
    return {"text": escape(title, 400), "blocks": blocks}


def readable(payload: Payload) -> str:
    """The message as plain text, for where there is no Slack: its title, and what it says below it, set in."""
    title, *rest = (line for block in payload["blocks"] for line in _text_of(block).split("\n") if line)
    return "\n".join([title, *(f"    {line}" for line in rest)])


def _text_of(block: dict[str, Any]) -> str:
    """What one of our blocks says."""
    if block["type"] == "rich_text":
        elements = [element for section in block["elements"] for element in section["elements"]]
        return "".join(element["text"] + (f": {element['url']}" if "url" in element else "") for element in elements)
    if block["type"] == "context":
        return "\n".join(element["text"] for element in block["elements"])
    return str(block["text"]["text"]) if block["type"] == "header" else ""


def _listed(decisions: Sequence[Decision], most: int = _MOST_LINES) -> list[dict[str, Any]]:
    """A line each, and the names of those that there is no room for."""
    blocks = [
        _rich(_text("\n".join(_line(decision) for decision in decisions[start : min(start + _LINES, most)])))
        for start in range(0, min(len(decisions), most), _LINES)
    ]
    rest = decisions[most:]
    if rest:
        blocks.append(_section(f"and {len(rest)} more", f"\n{_names(title_of(decision) for decision in rest)}"))
    return blocks


def _line(decision: Decision) -> str:
    advice = "ask a human" if decision.verdict == "escalate" else decision.recommended_action
    return (
        f"{plain(title_of(decision), 110)}: {plain(advice, 110)} "
        f"({percent(decision.confidence_score)}, {decision.occurrences} seen) {plain(decision.id, 40)}"
    )


def _names(names: Iterable[str]) -> str:
    """Each once, with how often; cut to what a section bears."""
    counts = Counter(names)
    return plain(", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items()), _NAMES)


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": plain(text, HEADER), "emoji": False}}


def _button(verdict: str, decision_id: str) -> dict[str, Any]:
    return {
        "type": "button", "action_id": f"pulseguard_{verdict}", "value": decision_id,
        "text": {"type": "plain_text", "text": _VERDICTS[verdict], "emoji": False},
    }  # fmt: skip


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "plain_text", "text": plain(text, 300), "emoji": False}]}


def _section(heading: str, text: str) -> dict[str, Any]:
    return _rich(_text(heading) | {"style": {"bold": True}}, _text(text))


def _rich(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(parts)}]}


def _link(url: str, text: str) -> dict[str, Any]:
    return {"type": "link", "url": url, "text": text}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
