"""Quix Streams, one event at a time: one statement each; its checkpoint commits offsets behind."""

import logging
from typing import Any

import psycopg
from quixstreams import Application, message_context

from tests.bench.peers.work import COMMIT_SECONDS, COUNT_ONE, row_of, told


def main() -> None:
    task = told()
    logging.disable(logging.INFO)
    app = Application(
        broker_address=task.kafka, consumer_group=task.group, auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS, consumer_extra_config={"fetch.wait.max.ms": 25, "session.timeout.ms": 6000},
        auto_create_topics=False, loglevel=None,
    )  # fmt: skip
    topic = app.topic(task.topic, value_deserializer="bytes", key_deserializer="bytes")
    with psycopg.connect(task.database, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        cursor = connection.cursor()

        def count(value: bytes, key: Any, timestamp: int, headers: Any) -> None:
            context = message_context()
            cursor.execute(COUNT_ONE, row_of(value, task.topic, context.partition, context.offset, timestamp))

        app.dataframe(topic).update(count, metadata=True)
        app.run()


if __name__ == "__main__":
    main()
