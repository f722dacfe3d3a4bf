"""The commands `pulseguard dlq`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline import kafka, letters, settings
from pipeline.console import completed, err, escaped, json_line, out, plain, run_async
from pipeline.times import moment
from schemas.dead_letter import Reason

dlq_cli = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be processed, and why.")
ReasonOption = Annotated[Reason | None, typer.Option(help="Only those with this reason.")]
TopicOption = Annotated[str | None, typer.Option(help="Only those that came from this topic.")]
SinceOption = Annotated[str | None, typer.Option(help="Only those buried since: a time (UTC), or a span: 24h, 7d.")]
TextOption = Annotated[str | None, typer.Option("--text", help="Only those whose reason or bytes hold this.")]


@dlq_cli.command("list")
def dlq_list(
    reason: ReasonOption = None, topic: TopicOption = None, since: SinceOption = None, text: TextOption = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,  # noqa: FBT002
) -> None:  # fmt: skip
    """The newest dead letters: why, and where from."""
    found = letters.newest(_dead_letters(reason, topic, since, text), limit)
    if as_json:
        sys.stdout.writelines(json_line(letters.row(letter)) for letter in found)
        return
    if not found:
        err.print("no dead letter, or none that fits")
        return
    table = Table("letter", "time", "from", "reason", "message", "bytes")
    for letter in found:
        origin = letters.about(letter)
        where = f"{origin['topic']}/{origin['partition']}@{origin['offset']}"
        size = str(len(letter.value or b""))
        texts = (letters.place(letter), origin["time"], where, origin["reason"], origin["message"][:100], size)
        table.add_row(*map(plain, texts))
    out.print(table)


@dlq_cli.command("show")
def dlq_show(letter: Annotated[str, typer.Argument(help="Its name in `dlq list`: PARTITION@OFFSET.")]) -> None:
    """One dead letter whole: its headers, and its bytes as they came; escaped on a terminal, which would obey them."""
    (found,) = letters.named(_dead_letters(), [letter])
    watched = sys.stdout.isatty()
    for name, value in found.headers:
        line = f"{name}: {(value or b'').decode(errors='replace')}"
        out.print(escaped(line.encode()) if watched else line, markup=False, highlight=False, soft_wrap=True)
    key = "none" if found.key is None else repr(found.key)
    out.print(f"key: {key}", markup=False, highlight=False, soft_wrap=True)
    sys.stdout.flush()
    value = found.value or b""
    sys.stdout.buffer.write((escaped(value, "\n\t").encode() if watched else value) + b"\n")


@dlq_cli.command("export")
def dlq_export(
    path: Annotated[Path, typer.Argument(help="A file of JSON Lines; bytes that are no text as base64.")],
    reason: ReasonOption = None, topic: TopicOption = None, since: SinceOption = None, text: TextOption = None,
) -> None:  # fmt: skip
    """Write dead letters to a file, those of each partition in their order."""
    found = letters.lines(_dead_letters(reason, topic, since, text))
    with path.open("wb") as file:
        written = sum(1 for line in found if file.write(line))
    out.print(plain(f"{written} written to {path}"), soft_wrap=True)


@dlq_cli.command("retry")
def dlq_retry(
    letter: Annotated[list[str] | None, typer.Argument(help="Names of `dlq list`; none: all that fit.")] = None,
    reason: ReasonOption = "bug", topic: TopicOption = None, since: SinceOption = None, text: TextOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 10_000,
) -> None:  # fmt: skip
    """Publish dead letters again on the topic they came from, once the cause is mended. Twice is counted once."""
    if letter:
        found = letters.named(_dead_letters(), letter)
    else:
        found = letters.newest(_dead_letters(reason, topic, since, text), limit)
        if not found:
            err.print(f"no dead letter with reason {reason} fits; `pulseguard dlq list` shows all")

    async def retry() -> int:
        sender = kafka.Sender(settings.required_kafka(completed()))
        try:
            return await letters.publish_again(found, sender)
        finally:
            await sender.close()

    out.print(f"{run_async(retry())} published again")


def _dead_letters(
    reason: str | None = None, topic: str | None = None, since: str | None = None, text: str | None = None
) -> Iterator[kafka.Message]:
    when = moment(since, datetime.now(UTC)) if since else None
    current = settings.required_kafka(completed())
    run_async(kafka.check(current, 5))  # names the variable where it does not answer
    return letters.chosen(kafka.each(current, current.topic_dlq), letters.Wanted(reason, topic, when, text))
