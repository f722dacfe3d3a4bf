"""Silences and maintenance windows: `pulseguard silence add|list|expire`, and what HTTP shares with it."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer
from rich.table import Column, Table

from pipeline.console import err, json_line, opened_record, out, plain, run_async
from pipeline.errors import Rejected
from pipeline.sinks.outbox import Outbox
from pipeline.sinks.policy import Policy, Silence, parsed
from pipeline.times import span

silence_cli = typer.Typer(no_args_is_help=True, help="Silences: recorded and decided, but nobody is told.")


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
    lasts: Annotated[str | None, typer.Option("--for", help="How long: 90m, 2h, 1d; else 1h.")] = None,
    start: Annotated[datetime | None, typer.Option(help="From when (UTC); a maintenance window. Default: now.")] = None,
    end: Annotated[datetime | None, typer.Option(help="Until when (UTC), in place of --for.")] = None,
) -> None:
    """Tell nobody of what all matchers hold for; prints the silence's id, and beside it until when it holds."""
    if lasts is not None and end is not None:
        raise Rejected("--for and --end both say until when: give one of them")
    begins = datetime.now(UTC) if start is None else _in_utc(start)
    try:
        ends = end or begins + span(lasts or "1h")
    except OverflowError as exc:
        raise Rejected(f"--for {lasts or '1h'} ends after the year 9999") from exc
    silence = made(matchers, begins, ends, author, comment)

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
        sys.stdout.writelines(map(json_line, silences))
        return
    if not silences:
        err.print("no silence that is not over" if not expired else "no silence")
        return
    table = Table(Column("silence", no_wrap=True), "matchers", "from", "until", "author", "comment")
    for silence in silences:
        times = (_shown(silence.starts_at), _shown(silence.ends_at))
        texts = (" ".join(silence.matchers), *times, silence.author, silence.comment)
        table.add_row(silence.id, *map(plain, texts))
    out.print(table)


@silence_cli.command("expire")
def silence_expire(silence_id: str) -> None:
    """End a silence now."""

    async def expire() -> bool:
        async with opened_record() as record:
            return await Outbox(record, Policy()).expire_silence(silence_id)

    if not run_async(expire()):
        raise Rejected(f"no silence {silence_id} that is not over")
    out.print(plain(f"{silence_id} is over"), soft_wrap=True)


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as exc:
        raise Rejected(f"{moment} is out of range in UTC") from exc
