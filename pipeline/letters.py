"""Dead letters as a tool: find them, look at one, keep them elsewhere, publish them again. `pulseguard dlq`."""

import base64
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pipeline.errors import Rejected
from pipeline.kafka import Message, Sender
from schemas.dead_letter import ORIGIN, PREFIX, RETRIED

_FIELDS = ("reason", "message", "topic", "partition", "offset", "time")
_UNTOLD = "-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None is any. ``text`` is looked for in reason's text and in the bytes."""

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    text: str | None = None


def chosen(letters: Iterable[Message], wanted: Wanted) -> Iterator[Message]:
    """Those wanted, one after another: there may be more than memory holds."""
    return (letter for letter in letters if _fits(letter, wanted))


def newest(letters: Iterable[Message], limit: int) -> list[Message]:
    """The ``limit`` newest, in order of arrival; no more are held meanwhile."""
    return sorted(heapq.nlargest(limit, letters, key=_when), key=_when)


def named(letters: Iterable[Message], names: Sequence[str]) -> list[Message]:
    """The letters at each ``PARTITION@OFFSET`` of the dead letters' topic. Raises `Rejected` where one is not there."""
    found: dict[str, Message] = {}
    for letter in letters:
        if place(letter) in names:
            found[place(letter)] = letter
            if len(found) == len(set(names)):
                break
    for name in names:
        if name not in found:
            raise Rejected(f"no dead letter {name}: `pulseguard dlq list` names them")
    return [found[name] for name in names]


def place(letter: Message) -> str:
    """A letter's name: where it lies."""
    return f"{letter.partition}@{letter.offset}"


def about(letter: Message) -> dict[str, str]:
    """Why and where from, as the headers tell; a dash where they do not."""
    found = {name.removeprefix(PREFIX): (value or b"").decode(errors="replace") for name, value in letter.headers}
    return {name: found.get(name) or _UNTOLD for name in _FIELDS}


def row(letter: Message) -> dict[str, Any]:
    """All of a letter for a program: bytes as text where they are UTF-8, else as base64."""
    return {"letter": place(letter), **about(letter), "key": _text(letter.key), **_value(letter.value)}


async def publish_again(letters: Sequence[Message], sender: Sender) -> int:
    """Publish letters on the topics they came from; returns how many.

    An anomaly without an id of its own keeps the one that its first place gave it: however often it is tried again, it
    is counted once. Raises `Unavailable`; and `Rejected`, with none published, where one does not say where it came
    from: others may write to that topic too.
    """
    for letter in letters:
        if about(letter)["topic"] == _UNTOLD:
            raise Rejected(f"{place(letter)} is no dead letter of ours: it does not say what topic it came from")
    for letter in letters:
        own = [header for header in letter.headers if not header[0].startswith(PREFIX) or header[0] == ORIGIN]
        await sender.send(about(letter)["topic"], letter.key, letter.value, [*own, (RETRIED, place(letter).encode())])
    return len(letters)


def _when(letter: Message) -> tuple[int, int]:
    """Of what was buried in the same millisecond, as a burst is, the offset tells what came later."""
    return letter.timestamp, letter.offset


def _fits(letter: Message, wanted: Wanted) -> bool:
    origin = about(letter)
    if wanted.reason not in {None, origin["reason"]} or wanted.topic not in {None, origin["topic"]}:
        return False
    if wanted.since is not None and letter.timestamp < wanted.since.timestamp() * 1000:
        return False
    return wanted.text is None or wanted.text in origin["message"] or _bytes(wanted.text) in (letter.value or b"")


def _bytes(text: str) -> bytes:
    """As they were typed, also where they are no UTF-8."""
    return text.encode(errors="surrogateescape")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")


def _value(raw: bytes | None) -> dict[str, str | None]:
    if raw is None:
        return {"value": None}
    try:
        return {"value": raw.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(raw).decode()}


def lines(letters: Iterable[Message]) -> Iterator[bytes]:
    """JSON Lines of `row`."""
    return (msgspec.json.encode(row(letter)) + b"\n" for letter in letters)
