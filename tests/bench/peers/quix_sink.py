"""Quix Streams with a batching sink, its own way to a database: one statement for each partition of a checkpoint."""

import logging

import psycopg
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from tests.bench.peers.work import BATCH, COMMIT_SECONDS, COUNT_MANY, columns, row_of, told


class Counting(BatchingSink):  # type: ignore[misc]
    """Writes a partition's share of a checkpoint in one statement."""

    def __init__(self, cursor: "psycopg.RawCursor[object]") -> None:
        super().__init__()
        self._cursor = cursor

    def write(self, batch: SinkBatch) -> None:
        rows = [row_of(item.value, batch.topic, batch.partition, item.offset, item.timestamp) for item in batch]
        self._cursor.execute(COUNT_MANY, columns(rows))


def main() -> None:
    task = told()
    logging.disable(logging.INFO)
    app = Application(
        broker_address=task.kafka, consumer_group=task.group, auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS, commit_every=4 * BATCH, auto_create_topics=False, loglevel=None,
        consumer_extra_config={"fetch.wait.max.ms": 25, "session.timeout.ms": 6000},
    )  # fmt: skip
    topic = app.topic(task.topic, value_deserializer="bytes", key_deserializer="bytes")
    with psycopg.connect(task.database, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        app.dataframe(topic).sink(Counting(connection.cursor()))
        app.run()


if __name__ == "__main__":
    main()
