"""Kafka through confluent-kafka; no other package imports it.

A producer that waits for the acknowledgement, a tail (every replica sees everything), a subscription (a group shares
the work), and the topics.
"""

from pipeline.kafka.client import EMBEDDED_FETCH_WAIT_MS, Headers, Message
from pipeline.kafka.consume import Subscription, TopicReplaced, each, read_all, subscribe, tail
from pipeline.kafka.lag import Behind
from pipeline.kafka.send import Sender
from pipeline.kafka.topics import (
    check,
    check_rights,
    create_topics,
    has_members,
    is_tansu,
    ping,
    prime_group,
    topic_id,
    topic_ids,
)  # fmt: skip

__all__ = [
    "EMBEDDED_FETCH_WAIT_MS", "Behind", "Headers", "Message", "Sender", "Subscription", "TopicReplaced", "check",
    "check_rights", "create_topics", "each", "has_members", "is_tansu", "ping", "prime_group", "read_all", "subscribe",
    "tail", "topic_id", "topic_ids",
]  # fmt: skip
