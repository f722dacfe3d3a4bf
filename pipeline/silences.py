"""Silences and maintenance windows: `pulseguard silence add|list|expire`, and what HTTP shares with it."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import msgspec
import typer
from rich.markup import escape
from rich.table import Column, Table

from pipeline.console import err, opened_record, out, run_async
from pipeline.errors import Rejected
from pipeline.sinks.outbox import Outbox
from pipeline.sinks.policy import Policy, Silence, parsed

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

silence_cli = typer.Typer(no_args_is_help=True, help="Silences: recorded and decided, but nobody is told.")


def span(text: str) -> timedelta:
    """``90m``, ``2h``, ``1d``. Raises `Rejected`."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise Rejected(f"{text!r} is no span of time: a number and one of s, m, h, d, w")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def made(
    matchers: Sequence[str], starts_at: datetime | None, ends_at: datetime, author: str, comment: str
) -> Silence:  # fmt: skip
    """A new silence. Raises `Rejected` for one that is no use: without matchers or author, or over already."""
    parsed(matchers)
    if not matchers:
        raise Rejected("a silence needs a matcher: without one it would mute everything")
    if not author.strip():
        raise Rejected("a silence needs an author")
    now = datetime.now(UTC)
    starts_at = now if starts_at is None else _in_utc(starts_at)
    ends_at = _in_utc(ends_at)
    if ends_at <= max(starts_at, now):
        raise Rejected("the silence ends before it begins, or is over already")
    return Silence(f"sil_{uuid4().hex[:12]}", tuple(matchers), starts_at, ends_at, author, comment)


@silence_cli.command("add")
def silence_add(
    matchers: Annotated[list[str], typer.Argument(help="service=payments 'severity=~info|warning' … all must hold.")],
    author: Annotated[str, typer.Option(help="Who wants it.")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    lasts: Annotated[str, typer.Option("--for", help="How long: 90m, 2h, 1d.")] = "1h",
    start: Annotated[datetime | None, typer.Option(help="From when (UTC); a maintenance window. Default: now.")] = None,
    end: Annotated[datetime | None, typer.Option(help="Until when (UTC), in place of --for.")] = None,
) -> None:
    """Tell nobody of what all matchers hold for; prints the silence's id, and beside it until when it holds."""
    begins = datetime.now(UTC) if start is None else _in_utc(start)
    silence = made(matchers, begins, end or begins + span(lasts), author, comment)

    async def add() -> None:
        async with opened_record() as record:
            await Outbox(record, Policy()).add_silence(silence)

    run_async(add())
    out.print(silence.id)
    err.print(f"from {_shown(silence.starts_at)} until {_shown(silence.ends_at)}", highlight=False)


@silence_cli.command("list")
def silence_list(
    expired: Annotated[bool, typer.Option("--expired", help="Also those that are over.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,  # noqa: FBT002
) -> None:
    """The silences that are active or will be."""

    async def read() -> list[Silence]:
        async with opened_record() as record:
            return await Outbox(record, Policy()).silences(expired=expired)

    silences = run_async(read())
    if as_json:
        sys.stdout.writelines(msgspec.json.encode(silence).decode() + "\n" for silence in silences)
        return
    table = Table(Column("silence", no_wrap=True), "matchers", "from", "until", "author", "comment")
    for silence in silences:
        times = (_shown(silence.starts_at), _shown(silence.ends_at))
        texts = (" ".join(silence.matchers), *times, silence.author, silence.comment)
        table.add_row(silence.id, *(escape(text) for text in texts))
    out.print(table)


@silence_cli.command("expire")
def silence_expire(silence_id: str) -> None:
    """End a silence now."""

    async def expire() -> bool:
        async with opened_record() as record:
            return await Outbox(record, Policy()).expire_silence(silence_id)

    if not run_async(expire()):
        raise Rejected(f"no silence {silence_id} that is not over")
    out.print(f"{silence_id} is over")


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as exc:
        raise Rejected(f"{moment} is out of range in UTC") from exc
