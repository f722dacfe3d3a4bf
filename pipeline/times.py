"""How a time is typed: one, or a span of it. Pure."""

import re
from datetime import UTC, datetime, timedelta

from pipeline.errors import Rejected

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def span(text: str) -> timedelta:
    """``90m``, ``2h``, ``1d``. Raises `Rejected`."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise Rejected(f"{text!r} is no span of time: a number and one of s, m, h, d, w")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def moment(text: str, now: datetime) -> datetime:
    """A time as RFC 3339 (UTC where it names no zone), or so long before ``now``: 90m, 24h, 7d. Raises `Rejected`."""
    try:
        if _SPAN.fullmatch(text.strip()):
            return now - span(text)
        when = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError, Rejected):
        raise Rejected(f"{text!r} is neither a time like 2026-01-31T12:00 nor a span like 24h or 7d") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
