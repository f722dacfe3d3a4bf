"""A dead letter: the original bytes and key as they came; the headers say why and where from."""

from datetime import datetime
from typing import Literal

import msgspec

Reason = Literal["rejected", "bug", "refused"]
PREFIX = "pulseguard_"
"""What the names of our headers begin with; a producer's own that do are dropped."""
ORIGIN = f"{PREFIX}origin"
"""The header that says where and when an anomaly first lay (TOPIC ID/PARTITION/OFFSET/MS): its id derives from that."""
RETRIED = f"{PREFIX}retried"
"""The header of a record that was published again: which dead letter it was."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of a dead letter, each as UTF-8 text, named ``pulseguard_<field>`` on the wire.

    ``reason``: ``rejected`` (bad input), ``bug`` (our fault), ``refused`` (a sink refused it for good).
    """

    reason: Reason
    message: str
    topic: str
    partition: int
    offset: int
    time: datetime

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers, in field order."""
        fields = msgspec.to_builtins(self)
        return [(f"{PREFIX}{name}", str(value).encode()) for name, value in fields.items()]
