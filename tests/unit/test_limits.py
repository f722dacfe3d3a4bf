"""The limits of model calls, each against a clock of the test."""

import weakref
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.breaker import Breaker
from pipeline.llm.bucket import Bucket
from pipeline.llm.budget import Budget
from pipeline.llm.cache import Cache, key_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def date(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)


def test_a_bucket_lends_a_minutes_worth_and_then_evenly():
    """Sixty at once, then one a second, in the order of asking; who cannot wait takes nothing."""
    clock = Clock()
    bucket = Bucket(60, clock)
    assert [bucket.reserve(1, 0) for _ in range(61)] == [0.0] * 60 + [None]
    assert [bucket.reserve(1, 5) for _ in range(6)] == [1.0, 2.0, 3.0, 4.0, 5.0, None]
    clock.now += 6
    assert bucket.reserve(1, 0) == 0.0
    bucket.give_back(1)
    assert bucket.reserve(1, 0) == 0.0
    assert bucket.reserve(1, 0) is None
    assert Bucket(0, clock).reserve(10**9, 0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 30)), max_size=60))
def test_no_bucket_lends_more_than_its_rate(asked: list[tuple[float, float]]):
    """In any time no more is usable than one minute's worth and what flowed in since."""
    clock = Clock()
    bucket = Bucket(30, clock)
    uses: list[tuple[float, float]] = []
    for pause, amount in asked:
        clock.now += pause
        wait = bucket.reserve(amount, 10)
        if wait is not None:
            assert wait <= 10
            uses.append((clock.now + wait, amount))
    for until, _ in uses:
        assert sum(amount for at, amount in uses if at <= until) <= 30 + (until - 1000) / 2 + 1e-6


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_try():
    """A success in between starts the count anew; one try an interval while it is open; a good one closes it."""
    clock = Clock()
    breaker = Breaker(3, 30, clock)
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome()
        assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now += 31
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    clock.now += 29
    assert not breaker.allows()
    clock.now += 2
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()


def test_a_circuit_of_no_failures_never_opens():
    """0 switches it off."""
    breaker = Breaker(0, 30, Clock())
    for _ in range(100):
        breaker.failed()
    assert breaker.allows()


async def test_a_budget_holds_over_restarts_over_workers_and_for_a_day():
    """The record's sum counts at the start and every half minute, own calls at once; midnight UTC forgives."""
    clock = Clock()
    recorded = [0.4]
    asked: list[datetime] = []

    async def spent(since: datetime) -> float:
        asked.append(since)
        return recorded[0] if since.day == 1 else 0.0

    budget = Budget(1.0, spent, clock.date)
    assert not await budget.is_spent()
    budget.add(0.5)
    budget.add(None)
    assert not await budget.is_spent()
    budget.add(0.2)
    assert await budget.is_spent()
    other = Budget(1.0, spent, clock.date)
    assert not await other.is_spent()
    recorded[0] = 1.1
    assert not await other.is_spent()
    clock.now += 31
    assert await other.is_spent()
    assert set(asked) == {datetime(2026, 1, 1, tzinfo=UTC)}
    clock.now += 86_400
    assert not await other.is_spent()


async def test_what_ends_while_the_record_is_read_counts():
    """A call that is paid for meanwhile is not forgotten, and what a day has cost is not the next day's."""
    clock = Clock()

    async def spent(since: datetime) -> float:
        if since.day == 1:
            budget.add(1.0)
            clock.now += passes
        return 2.0 if since.day == 1 else 0.0

    budget, passes = Budget(3.0, spent, clock.date), 0
    assert not await budget.is_spent()
    clock.now += 31
    assert await budget.is_spent(), "the call that ended while the record was read is forgotten"
    budget, passes = Budget(1.0, spent, clock.date), 86_400
    assert not await budget.is_spent(), "what was recorded is yesterday's"
    budget.add(0.5)
    assert not await budget.is_spent()


async def test_without_a_budget_the_record_is_not_asked():
    """0 switches it off."""

    async def spent(_: datetime) -> float:
        raise AssertionError

    budget = Budget(0, spent)
    budget.add(1e9)
    assert not await budget.is_spent()


def test_a_cache_forgets_in_time_and_in_number():
    """An answer is kept for its seconds; the oldest of more than a thousand goes; 0 seconds keep nothing."""
    clock = Clock()
    cache: Cache[int] = Cache(60, clock)
    cache.put("a", 1)
    clock.now += 59
    assert cache.get("a") == 1
    clock.now += 1
    assert cache.get("a") is None
    for number in range(1001):
        cache.put(str(number), number)
    assert (cache.get("0"), cache.get("1"), cache.get("1000")) == (None, 1, 1000)
    cache.put("1", 11)  # anew: now the second is the oldest
    cache.put("b", 2)
    assert (cache.get("1"), cache.get("2"), cache.get("3"), cache.get("b")) == (11, None, 3, 2)
    off: Cache[int] = Cache(0, clock)
    off.put("a", 1)
    assert off.get("a") is None


def test_a_turn_is_for_equal_questions_and_no_longer_than_somebody_has_it():
    """Equal questions have one, others another; it is forgotten with its last holder; 0 seconds share none."""
    cache: Cache[int] = Cache(60)
    turn = cache.turn("a")
    assert turn is cache.turn("a")
    assert turn is not cache.turn("b")
    gone = weakref.ref(turn)
    del turn
    assert gone() is None
    off: Cache[int] = Cache(0)
    assert off.turn("a") is not off.turn("a")


def test_keys_tell_texts_apart():
    """Not even texts that are split elsewhere share one."""
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("ab", "c", "")}) == 4
    assert key_of("\ud800") == key_of("\ud800")
