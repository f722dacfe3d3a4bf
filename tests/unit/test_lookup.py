"""The evidence of an episode is looked up once, until the known incidents change."""

from collections.abc import Sequence
from typing import Any

from pipeline.index import Found
from pipeline.stages.enrich import Lookup
from pipeline.stages.record import Opening
from pipeline.words import Query
from schemas import Anomaly, Evidence, Signals


class PlayedIndex:
    """Answers each query with an incident that is named after its text, and remembers what was asked."""

    def __init__(self) -> None:
        self.level: tuple[int, int] | None = (1, 1)
        self.asked: list[str] = []

    async def search(self, queries: Sequence[Query]) -> list[Found]:
        self.asked += [query.text for query in queries]
        return [Found([Evidence(query.text, query.text, 1.0)], Signals()) for query in queries]


def asks(episode: str, revision: int, text: str, error_type: str = "disk_full") -> tuple[Opening, Anomaly]:
    opening = Opening(f"{episode}-{revision}", episode, revision, revision, None)
    return opening, Anomaly(error_type=error_type, message=text)


async def found(lookup: Lookup, *asked: tuple[Opening, Anomaly]) -> list[str]:
    return [one.evidence[0].incident_id for one in await lookup.of(asked)]


def opened() -> tuple[Any, Lookup]:
    index: Any = PlayedIndex()
    return index, Lookup(index)


async def test_a_revision_keeps_the_evidence_of_its_episode() -> None:
    """New episodes are looked up together, in their order; revisions cost nothing."""
    index, lookup = opened()
    first = await found(lookup, asks("a", 1, "one"), asks("b", 1, "two"))
    assert first == ["disk full. one", "disk full. two"]
    again = await found(lookup, asks("b", 2, "other"), asks("c", 1, "three"), asks("a", 2, "other"))
    assert again == ["disk full. two", "disk full. three", "disk full. one"]
    assert await found(lookup, asks("a", 3, "other")) == ["disk full. one"]
    assert index.asked == ["disk full. one", "disk full. two", "disk full. three"]


async def test_it_is_looked_up_again_when_the_incidents_changed() -> None:
    """What was learned meanwhile is found."""
    index, lookup = opened()
    await found(lookup, asks("a", 1, "one"))
    index.level = (1, 2)
    assert await found(lookup, asks("a", 2, "new")) == ["disk full. new"]


async def test_a_search_that_is_overtaken_by_a_change_is_not_kept() -> None:
    """Batches overlap: what was found before the incidents changed, and came after, answers no later revision."""
    index, lookup = opened()
    search = index.search

    async def slow(queries: Sequence[Query]) -> list[Found]:
        old = await search(queries)
        index.search = search
        index.level = (1, 2)
        await found(lookup, asks("b", 1, "other"))
        return old

    index.search = slow
    assert await found(lookup, asks("a", 1, "old")) == ["disk full. old"]
    assert await found(lookup, asks("a", 2, "new")) == ["disk full. new"]


async def test_what_names_no_fault_is_looked_up_by_what_it_says() -> None:
    """Anomalies of an unnamed error share an episode, and maybe nothing else."""
    _, lookup = opened()
    assert await found(lookup, asks("a", 1, "one", "unknown")) == ["one"]
    assert await found(lookup, asks("a", 2, "two", "unknown")) == ["two"]
