"""How far a group is behind, asked of the broker: a consumer that has ceased to fetch does not know it itself."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient, OffsetSpec

from pipeline.kafka.client import common, translated
from pipeline.settings import Settings

Where = tuple[str, int]
_SECONDS = 5


class Behind:
    """Questions to the broker, over one connection. Every call raises `Unavailable`.

    The embedded broker names the first record of the last batch as the end: of it, the last batch is never told.
    """

    def __init__(self, settings: Settings) -> None:
        self._admin = AdminClient(common(settings))

    async def ends(self, places: Collection[Where]) -> dict[Where, int]:
        """The offset after the last record that a consumer may be given now, of each partition."""
        return await asyncio.to_thread(_known, self._ends, places)

    async def is_joined(self, group: str) -> bool:
        """Whether the group has members that know what is whose."""
        return await asyncio.to_thread(_known, self._is_joined, group)

    async def lag(self, group: str, topic: str) -> dict[Where, int]:
        """How many records of each of the topic's partitions the group has not acknowledged."""
        return await asyncio.to_thread(_known, self._lag, group, topic)

    def _ends(self, places: Collection[Where], spec: OffsetSpec | None = None) -> dict[Where, int]:
        if not places:
            return {}
        asked = {Partition(*place): spec or OffsetSpec.latest() for place in places}
        # What belongs to a transaction that is still open is given to nobody.
        futures = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_SECONDS
        )
        return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}

    def _is_joined(self, group: str) -> bool:
        future = self._admin.describe_consumer_groups([group], request_timeout=_SECONDS)[group]
        return bool(future.result().state == ConsumerGroupState.STABLE)

    def _lag(self, group: str, topic: str) -> dict[Where, int]:
        numbers = self._admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        places = [(topic, number) for number in numbers]
        if not places:  # it was deleted, or may not be seen any more
            return {}
        asked = [ConsumerGroupTopicPartitions(group, [Partition(*place) for place in places])]
        answer = self._admin.list_consumer_group_offsets(asked, request_timeout=_SECONDS)[group].result()
        committed = {(part.topic, part.partition): part.offset for part in answer.topic_partitions}
        new = [place for place in places if committed.get(place, -1) < 0]
        done = committed | self._ends(new, OffsetSpec.earliest())
        return {place: max(end - done[place], 0) for place, end in self._ends(places).items()}


def _known(ask: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except KafkaException as exc:
        raise translated(exc.args[0]) from exc
