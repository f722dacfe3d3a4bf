"""What Slack's answers mean, and what is shown where there is no Slack."""

import pytest

from pipeline.errors import Unavailable
from pipeline.sinks.slack import _fault


@pytest.mark.parametrize(
    ("named", "wait"),
    [("0", 0), ("30", 30), ("300", 300), ("301", 300), ("86400", 300), ("9" * 400, 300), ("soon", None), ("", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_longer_than_five_minutes_for_an_answer(status: int, named: str, wait: float | None):
    """A Retry-After is honoured up to there, in whatever case its name is written."""
    fault = _fault(status, "", {"RETRY-AFTER": named})
    assert isinstance(fault, Unavailable)
    assert fault.retry_after == wait
