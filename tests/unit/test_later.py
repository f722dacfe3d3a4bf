"""When a server that refused may be asked again."""

from datetime import UTC, datetime
from math import inf

import pytest

from pipeline.later import retry_after

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7), ({"Retry-After": " 0.5 "}, 0.5), ({"RETRY-AFTER": "0"}, 0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25), ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30), ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0),
        ({"retry-after": "Wednesday, 21-Oct-26 07:28:30 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 09:28:30 +0200"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000"}, 30),
        ({"retry-after": "-1"}, None), ({"retry-after": "nan"}, None), ({"retry-after": "9" * 400}, inf),
        ({"retry-after": "Wed, 31 Feb 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT"}, None), ({"retry-after": ""}, None), ({}, None),
    ],
)  # fmt: skip
def test_seconds_or_a_date_or_nothing(headers: dict[str, str], wait: float | None):
    """RFC 9110's two forms, and the milliseconds of some providers, which are the exacter ones."""
    assert retry_after(headers, NOW) == wait
