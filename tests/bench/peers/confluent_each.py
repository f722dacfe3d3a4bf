"""A plain confluent-kafka loop: one event, one statement. Offsets are stored once counted, and committed behind."""

import psycopg
from confluent_kafka import Consumer

from tests.bench.peers.work import COMMIT_SECONDS, COUNT_ONE, row_of, told


def main() -> None:
    task = told()
    consumer = Consumer(
        {
            "bootstrap.servers": task.kafka, "group.id": task.group, "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False, "auto.commit.interval.ms": int(COMMIT_SECONDS * 1000),
            "fetch.wait.max.ms": 25, "session.timeout.ms": 6000,
        }
    )  # fmt: skip
    consumer.subscribe([task.topic])
    with psycopg.connect(task.database, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        cursor = connection.cursor()
        while True:
            record = consumer.poll(1)
            if record is None or record.error() is not None:
                continue
            row = row_of(record.value(), record.topic(), record.partition(), record.offset(), record.timestamp()[1])
            cursor.execute(COUNT_ONE, row)
            consumer.store_offsets(record)


if __name__ == "__main__":
    main()
