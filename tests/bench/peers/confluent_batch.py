"""A confluent-kafka loop over batches: one statement for all that has come."""

import psycopg
from confluent_kafka import Consumer, TopicPartition

from tests.bench.peers.work import BATCH, COMMIT_SECONDS, COUNT_MANY, columns, row_of, told


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
            records = [record for record in consumer.consume(BATCH, 0.005) if record.error() is None]
            if not records:
                continue
            rows = [row_of(r.value(), r.topic(), r.partition(), r.offset(), r.timestamp()[1]) for r in records]
            cursor.execute(COUNT_MANY, columns(rows))
            done = {record.partition(): record.offset() + 1 for record in records}
            consumer.store_offsets(offsets=[TopicPartition(task.topic, part, at) for part, at in done.items()])


if __name__ == "__main__":
    main()
