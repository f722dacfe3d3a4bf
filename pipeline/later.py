"""When a server that refused for now says that it may be asked again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, object], now: datetime | None = None) -> float | None:
    """Seconds, from 0, by ``retry-after-ms`` or ``Retry-After`` (RFC 9110, section 10.2.3: seconds, or a date).

    Infinite where the number is too large for a float. ``headers``' names are taken in any case. None where they do not
    say, or in neither form.
    """
    named = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    wait = _number(named.get("retry-after-ms"), 1e-3)
    if wait is None:
        wait = _number(named.get("retry-after"))
    if wait is None:
        wait = _until(named.get("retry-after"), now or datetime.now(UTC))
    return wait


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        seconds = float(text or "") * unit
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def _until(text: str | None, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())
