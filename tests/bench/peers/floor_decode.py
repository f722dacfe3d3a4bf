"""The floor: a bare consumer that decodes and does nothing else. Says what it reached in one line of JSON."""

import json
import os
import time

from confluent_kafka import Consumer, TopicPartition

from tests.bench.peers.work import BATCH, anomaly_of, told


def main() -> None:
    task = told()
    wanted = int(os.environ["BENCH_EVENTS"])
    consumer = Consumer(
        {"bootstrap.servers": task.kafka, "group.id": task.group, "fetch.wait.max.ms": 25, "enable.auto.commit": False}
    )
    partitions = consumer.list_topics(task.topic, timeout=10).topics[task.topic].partitions
    consumer.assign([TopicPartition(task.topic, number, 0) for number in partitions])
    seen, began, cpu = 0, 0.0, 0.0
    while seen < wanted:
        records = [record for record in consumer.consume(BATCH, 0.1) if record.error() is None]
        if records and not began:
            began, cpu, wanted = time.perf_counter(), time.process_time(), wanted - len(records)
            continue
        for record in records:
            anomaly_of(record.value())
        seen += len(records)
    seconds = time.perf_counter() - began
    print(json.dumps({"rate": seen / seconds, "cpu_us": (time.process_time() - cpu) / seen * 1e6}), flush=True)
    consumer.close()


if __name__ == "__main__":
    main()
