"""What the tables hold, as values: rows of an earlier release may hold what the contract allows no more."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
import structlog

T = TypeVar("T")
log = structlog.get_logger()


def stored(kind: str, rows: Iterable[Any], read: Callable[[Any], T]) -> list[T]:
    """What ``read`` makes of each row. One that cannot be decoded is logged by its ``id`` and left out."""
    found: list[T] = []
    for row in rows:
        try:
            found.append(read(row))
        except msgspec.MsgspecError as exc:
            log.error("row_unreadable", kind=kind, id=row["id"], reason=str(exc))
    return found
