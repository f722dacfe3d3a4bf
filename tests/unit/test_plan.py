"""What a channel is told, and when: heads, updates, digests, edits and reminders, within its limits."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.plan import LONG, Call, Head, Sent, Told, Waiting, plan, tokens, upkeep
from pipeline.sinks.policy import Limits, Route
from pipeline.stages.episodes import rank
from tests.unit.test_blocks import decision

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LIMITS = Limits(burst=3, refill=60, digest=15, update=30, longest=300, pace=1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def waiting(
    name: str, situation: str, seconds: float = 0, severity: str | None = "error", route: Route | None = None
) -> Waiting:  # fmt: skip
    changed = msgspec.structs.replace(decision("x"), id=name, situation_id=situation, severity=severity)
    return Waiting(changed, at(seconds), route or Route())


def told(worst: str = "error", updates: int = 0, last: float = 0) -> Told:
    return Told("m1", "C1/1.5", updates, rank(worst), at(last))


def names(call: Call | float) -> list[str]:
    assert isinstance(call, Call)
    return [item.decision.id for item in call.about]


def test_a_first_decision_is_a_head_at_once_and_takes_its_situation_along():
    items = [waiting("b", "s", 1, "warning"), waiting("a", "s", 2, "critical"), waiting("c", "other", 0)]
    call = plan(items, {}, [], LIMITS, at(2))
    assert isinstance(call, Call)
    assert (call.kind, call.situation, names(call)) == ("head", "s", ["a", "b"])


def test_nothing_waits_for_nothing():
    assert plan([], {}, [], LIMITS, at(0)) == LONG


def test_calls_keep_apart():
    assert plan([waiting("a", "s")], {}, [Sent("edit", at(0))], LIMITS, at(0.4)) == pytest.approx(0.6)
    assert upkeep([], [Sent("edit", at(0))], LIMITS, at(0)) == 1.0


@pytest.mark.parametrize("wait", ["group_wait", "hold_off"])
def test_a_route_may_wait(wait: str):
    items = [waiting("a", "s", 0, route=Route(**{wait: 20.0}))]  # type: ignore[arg-type]
    assert plan(items, {}, [], LIMITS, at(5)) == 15.0
    assert names(plan(items, {}, [], LIMITS, at(20))) == ["a"]


BUSY = [Sent("head", at(-3)), Sent("head", at(-2))]
"""Less than half of the burst is left."""


def test_a_situation_that_grows_is_told_of_at_once_while_the_channel_is_quiet():
    call = plan([waiting("a", "s", 1)], {"s": told()}, [], LIMITS, at(1))
    assert isinstance(call, Call)
    assert call.kind == "update"


@pytest.mark.parametrize(("updates", "due"), [(0, 30), (1, 30), (2, 60), (3, 120), (9, 300)])
def test_a_situation_that_grows_in_a_busy_channel_is_told_of_ever_less(updates: int, due: float):
    before = {"s": told(updates=updates)}
    assert plan([waiting("a", "s", 1)], before, BUSY, LIMITS, at(1)) == due - 1
    busy = [Sent("head", at(due - 3)), Sent("head", at(due - 2))]
    call = plan([waiting("a", "s", 1)], before, busy, LIMITS, at(due))
    assert isinstance(call, Call)
    assert (call.kind, call.head, call.place) == ("update", "m1", "C1/1.5")


def test_what_is_worse_waits_for_no_update():
    call = plan([waiting("a", "s", 1, "critical")], {"s": told(updates=5)}, BUSY, LIMITS, at(2))
    assert names(call) == ["a"]
    assert isinstance(plan([waiting("a", "s", 1, "error")], {"s": told(updates=5)}, BUSY, LIMITS, at(2)), float)


def test_over_the_limit_one_digest_tells_of_all_the_worst_first():
    log = [Sent("head", at(n)) for n in range(3)]
    items = [
        waiting("a", "s1", 3, "info"),
        waiting("b", "s2", 4),
        waiting("c", "s2", 5),
        waiting("d", "s3", 6, "critical"),
    ]
    assert [plan(items, {}, log, LIMITS, at(now)) for now in (7, 17.5)] == [11, 0.5]  # 15 s after the first one
    call = plan(items, {}, log, LIMITS, at(18))
    assert isinstance(call, Call)
    assert (call.kind, names(call)) == ("digest", ["d", "b", "a", "c"])


def test_each_next_digest_waits_twice_as_long_until_it_is_quiet():
    log = [Sent("head", at(n)) for n in range(3)] + [Sent("digest", at(18))]
    assert plan([waiting("a", "s", 19)], {}, log, LIMITS, at(19.5)) == 18 + 30 - 19.5
    log.append(Sent("digest", at(48)))
    assert plan([waiting("a", "s", 49)], {}, log, LIMITS, at(49.5)) == 48 + 60 - 49.5
    late = 48 + 16 * 60
    log += [Sent("head", at(late + n)) for n in range(3)]
    assert plan([waiting("a", "s", late + 3)], {}, log, LIMITS, at(late + 4)) == 14


def test_tokens_come_back():
    log = [Sent("head", at(0)), Sent("update", at(1)), Sent("edit", at(2)), Sent("digest", at(3))]
    assert tokens([], LIMITS, at(0)) == 3
    assert tokens(log, LIMITS, at(2)) == pytest.approx(2 / 60)
    assert tokens(log, LIMITS, at(2 + 58)) == pytest.approx(1)
    assert tokens(log, LIMITS, at(9999)) == 3


def head(
    shown: str = "error, 1", now: str = "error, 1", repeat: float | None = None, place: str | None = "C1/1"
) -> Head:
    return Head("m1", "s", place, shown, now, None if repeat is None else at(repeat))


def test_a_head_that_is_outdated_is_edited_where_it_can_be():
    call = upkeep([head(), head(now="over")], [], LIMITS, at(0))
    assert isinstance(call, Call)
    assert (call.kind, call.head, call.place, call.about) == ("edit", "m1", "C1/1", ())
    assert upkeep([head(now="over", place=None)], [], LIMITS, at(0)) == LONG


def test_what_goes_on_is_repeated():
    assert upkeep([head(repeat=50)], [], LIMITS, at(10)) == 40
    call = upkeep([head(repeat=50)], [], LIMITS, at(50))
    assert isinstance(call, Call)
    assert (call.kind, call.about) == ("update", ())


def test_upkeep_leaves_half_of_the_allowance_to_what_is_new():
    log = [Sent("head", at(0)), Sent("head", at(1))]
    assert upkeep([head(now="over")], log, LIMITS, at(3)) == 1.0


@given(
    arrivals=st.lists(
        st.tuples(st.floats(0, 120), st.integers(0, 400), st.sampled_from([None, "info", "error", "critical"])),
        min_size=1, max_size=400,
    )
)  # fmt: skip
def test_a_flood_of_two_minutes_costs_few_calls_and_every_decision_is_told_once(
    arrivals: list[tuple[float, int, str | None]],
):
    """Simulated second by second for half an hour: the bound is tokens and digests, whatever comes."""
    limits = Limits()
    items = [waiting(f"d{n}", f"s{group}", when, severity) for n, (when, group, severity) in enumerate(arrivals)]
    before: dict[str, Told] = {}
    log: list[Sent] = []
    said: Counter[str] = Counter()
    for second in range(1800):
        now = at(second)
        here = [item for item in items if item.since <= now and not said[item.decision.id]]
        call = plan(here, before, log, limits, now)
        if isinstance(call, float):
            continue
        log.append(Sent(call.kind, now))
        for item in call.about:
            said[item.decision.id] += 1
            known = before.get(item.situation)
            worst = max(rank(item.decision.severity), known.worst if known else 0)
            before[item.situation] = Told("m", None, known.updates + 1 if known else 0, worst, now)
    assert all(said[item.decision.id] == 1 for item in items)
    early = [sent for sent in log if sent.at <= at(120)]
    assert len(early) <= limits.burst + 2 + 3  # what is there, what comes back, digests at 15, 45 and 105 s
    assert len(log) <= limits.burst + 30 + 10
