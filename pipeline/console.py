"""What the commands share: where they print, and how they run, find the settings and open the record."""

import asyncio
import json
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from pipeline import endpoints, settings
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stages.record import Record, open_record

if TYPE_CHECKING:
    from pipeline.index import Index
    from pipeline.knowledge import Loaded

T = TypeVar("T")
PAGE = 120
"""The width of prose in a frame, where nothing narrower is asked for."""
_NO_EDGE = 1000
"""The width of a pipe or file: rich would take 80 columns for one, and fold a table's cells and long lines there."""
out = Console()
err = Console(stderr=True)
for _console in (out, err):
    if not _console.is_terminal:
        _console.width = _NO_EDGE


def harmless(text: str) -> str:
    """Text from outside without what a terminal would obey: it could clear the screen, or write what nobody said."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def json_line(value: Any) -> str:
    """A line of JSON, with what a terminal would obey spelled out: to a program it says the same."""
    text = msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text) + "\n"


def plain(text: str) -> Text:
    """Text from outside: no markup, and nothing that a terminal would obey."""
    return Text(harmless(text))


class PassedOver:
    """The files that could not be read: each is told as it comes, and they make the exit code 1 in the end."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, loaded: "Loaded") -> None:
        """Tell of one."""
        self._count += 1
        err.print("[red]not read[/]", plain(f"{loaded.file}: {loaded.fault}"), soft_wrap=True)

    def settle(self) -> None:
        """What was to be done is done, without them. Raises `typer.Exit`."""
        if self._count:
            some = "1 file" if self._count == 1 else f"{self._count} files"
            err.print(f"[red]error[/] {some} could not be read, see above: what is said is of the others")
            raise typer.Exit(1)


def escaped(raw: bytes, kept: str = "") -> str:
    """Bytes from outside, what a terminal would obey and what is no UTF-8 spelled out; ``kept`` stands as it is."""
    text = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def typed(command: str) -> str:
    """A command of the program as it can be typed: by the path by which it was started, unless its name is found."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {called.parent.name} {command}"
    found = shutil.which(called.name)
    by_name = found is not None and called.exists() and called.samefile(found)
    return f"{called.name if by_name else shlex.quote(str(called))} {command}"


def writable(file: Path) -> None:
    """Raise `Rejected` where a file cannot be written: to be known before the work whose result it is to hold."""
    if file.is_dir():
        raise Rejected(f"{file}: is a folder")
    if not file.parent.is_dir():
        raise Rejected(f"{file}: there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise Rejected(f"{file}: may not be written")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work, on uvloop where there is one."""
    try:
        import uvloop  # not on every platform
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def completed() -> Settings:
    """The settings, with what they do not name taken from an `up` that runs on the same home."""
    return endpoints.completed(settings.read())


@asynccontextmanager
async def opened_record() -> AsyncIterator[Record]:
    """The record, migrated. Raises `Misconfigured` where no database is named."""
    from pipeline.migrations import migrate

    url = settings.required_database(completed()).database_url
    await migrate(str(url))
    async with open_record(str(url)) as record:
        yield record


@asynccontextmanager
async def opened_index() -> AsyncIterator[tuple["Index", Record]]:
    """An index of this process and the record it derives from."""
    from pipeline.embedding import open_embedder
    from pipeline.index import open_index

    current = completed()
    embedder = await asyncio.to_thread(open_embedder, current)
    async with opened_record() as record, open_index(current, embedder) as index:
        yield index, record
