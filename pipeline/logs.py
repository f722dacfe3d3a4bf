"""The log: events for people on a terminal, one JSON object a line for programs. Neither obeys what comes from outside.

An alert, a header or an error's message may hold terminal codes, and ends of lines that begin an entry of their own.
"""

import io
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from pipeline.console import err, harmless
from pipeline.errors import Misconfigured
from pipeline.settings import Settings

_COLOUR = re.compile(r"(\x1b\[[\d;]{0,30}m)")
Event = MutableMapping[str, Any]


def configure(current: Settings) -> None:
    """Ours by structlog, and that of the libraries beside it. Raises `Misconfigured`."""
    level = logging.getLevelNamesMapping().get(current.log_level.upper())
    if level is None:
        raise Misconfigured("LOG_LEVEL", f"{current.log_level!r} is not debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Entry("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("websockets").setLevel(logging.WARNING)  # Faust lowers the root's level
    for_people: list[structlog.typing.Processor] = [
        structlog.processors.StackInfoRenderer(),
        _unfolded,
        _harmless,
        structlog.dev.ConsoleRenderer(exception_formatter=_traceback),
    ]
    for_programs: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(for_people if err.is_terminal else for_programs),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class Entry(logging.Formatter):
    """What a library logs: the lines that follow an entry's first are set in, so that none looks like another entry."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter.format`."""
        return harmless(super().format(record)).replace("\n", "\n    ")


def _unfolded(_: Any, __: str, event: Event) -> Event:
    """A text of several lines below its event: as a value its ends of lines would be escaped."""
    text = event.get("text")
    if isinstance(text, str) and "\n" in text:
        event["event"] = f"{event['event']}\n{event.pop('text')}"
    return event


def _harmless(_: Any, __: str, event: Event) -> Event:
    return {name: harmless(value) if isinstance(value, str) else value for name, value in event.items()}


def _traceback(out: TextIO, raised: structlog.typing.ExcInfo) -> None:
    """With colours, and nothing else that a terminal obeys. Without locals: a request's headers are among them."""
    text = io.StringIO()
    structlog.dev.RichTracebackFormatter(show_locals=False)(text, raised)
    parts = _COLOUR.split(text.getvalue())
    out.write("".join(part if place % 2 else harmless(part) for place, part in enumerate(parts)))
