"""The chaos suite's own judge: it is content with what is right, and finds each thing that is not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.ledger import QUIET_MS, REOPEN_MS, Account, Entry, Found, Ledger
from tests.chaos.load import Event, anomaly
from tests.chaos.rig import shown
from tests.slack_server import SlackServer

POISON = ("anomalies", 0, 3)


def ledger() -> Ledger:
    """Three anomalies of one fault, one of them twice, and a bad record."""
    book = Ledger("nowhere")
    events = [anomaly(name, "svc") for name in ("a", "b", "c")]
    events = [*events, Event(b"hello"), events[0]]
    book.entries = [Entry(event, "anomalies", 0, offset, 1000) for offset, event in enumerate(events)]
    return book


def right() -> Found:
    """What has to be there."""
    return Found(
        anomalies={"a", "b", "c"}, occurrences={"svc/database_timeout": [3]}, counted={"svc/database_timeout": [3]},
        episodes=[("ep", 1)], decisions=[("dec", "ep", 1, b"{}")], published={"dec": [b"{}"]},
        letters={POISON: [b"hello"]}, feed={"dec": ["{}"]}, shown=Counter(dec=1),
    )  # fmt: skip


def test_what_is_right_breaks_nothing():
    """Nothing is lost, nothing is twice, all of it is settled."""
    assert ledger().compare(right()) == Account(sent=5, settled=5)


def test_what_at_least_once_allows_breaks_nothing():
    """The same body again on the topic, the same dead letter again, a message that a crash may repeat."""
    found = replace(
        right(), published={"dec": [b"{}", b"{}"]}, letters={POISON: [b"hello", b"hello"]}, shown=Counter(dec=2)
    )
    account = ledger().compare(found, forgiven_messages=1)
    assert (account.broken, account.seen_again, account.duplicate_messages) == ([], 1, 1)


BREAKS: dict[str, tuple[Callable[[Found], object], dict[str, int]]] = {
    "an anomaly is in no table": (lambda found: found.anomalies.remove("b"), {"lost": 1, "settled": 4}),
    "one that nobody sent": (lambda found: found.anomalies.add("z"), {}),
    "an occurrence is not counted": (
        lambda found: found.occurrences.update({"svc/database_timeout": [2]}),
        {"lost": 1},
    ),
    "one counts twice": (
        lambda found: found.occurrences.update({"svc/database_timeout": [4]}),
        {"extra_occurrences": 1},
    ),
    "two episodes in place of one": (lambda found: found.occurrences.update({"svc/database_timeout": [1, 2]}), {}),
    "the count is not that of the rows": (lambda found: found.counted.update({"svc/database_timeout": [2]}), {}),
    "an episode of a fault that nobody sent": (lambda found: found.occurrences.update(x=[1]), {"extra_occurrences": 1}),
    "no decision": (lambda found: found.decisions.clear(), {"lost": 1}),
    "two decisions": (lambda found: found.decisions.append(("d2", "ep", 1, b"{}")), {"duplicate_decisions": 1}),
    "not published": (lambda found: found.published.clear(), {"lost": 1}),
    "another body": (lambda found: found.published["dec"].append(b"[]"), {"duplicate_decisions": 1}),
    "published and not in the table": (lambda found: found.published.update(d3=[b"{}"]), {}),
    "no dead letter": (lambda found: found.letters.clear(), {"lost": 1, "settled": 4}),
    "a dead letter with other bytes": (lambda found: found.letters.update({POISON: [b"hell"]}), {}),
    "a good record in the dead letters": (lambda found: found.letters.update({("anomalies", 0, 1): [b"{}"]}), {}),
    "an enriched record in the dead letters": (lambda found: found.letters.update({("e", 0, 0): [b"{}"]}), {}),
    "not on the feed": (lambda found: (found.feed or {}).clear(), {"lost": 1}),
    "twice on the feed": (lambda found: (found.feed or {})["dec"].append("{}"), {}),
    "not at Slack": (lambda found: (found.shown or Counter()).clear(), {"lost": 1}),
    "twice at Slack": (lambda found: (found.shown or Counter()).update(dec=1), {"duplicate_messages": 1}),
}


@pytest.mark.parametrize("what", BREAKS)
def test_each_break_is_found(what: str):
    """It is said, and counted where there is a number for it."""
    breaks, numbers = BREAKS[what]
    found = right()
    breaks(found)
    account = ledger().compare(found)
    assert account.broken
    assert {name: getattr(account, name) for name in numbers} == numbers


def test_a_refused_message_is_not_missed():
    """What Slack refuses for good is a dead letter with that reason, and settled."""
    found = replace(right(), shown=Counter(), refused={"dec"})
    assert not ledger().compare(found).broken


def test_episodes_end_by_resolved_and_by_quiet():
    """In the order of offsets, whatever the order of arrival here; a repeated id opens nothing."""
    book = Ledger("nowhere")
    steps = [("a", "firing", 0), ("b", "firing", 5), ("c", "resolved", 6), ("d", "firing", 7), ("a", "firing", 8)]
    steps += [("e", "firing", 8 + QUIET_MS), ("f", "firing", 10 + 2 * QUIET_MS), ("g", "resolved", 11 + 2 * QUIET_MS)]
    steps += [("h", "firing", 12 + 2 * QUIET_MS + REOPEN_MS)]
    book.entries = [
        Entry(anomaly(name, "svc", status=status), "anomalies", 0, offset, time)
        for offset, (name, status, time) in enumerate(steps)
    ][::-1]
    assert book.expected() == {"svc/database_timeout": [1, 1, 1, 3]}


def test_a_message_of_many_that_comes_twice_is_one_repetition():
    """But a decision that two different messages tell of is told of twice; what Slack refused was not shown."""
    ids = [f"dec_{n:024x}" for n in range(3)]
    posts = [
        (0.0, {"text": " ".join(ids)}),
        (1.0, {"text": " ".join(ids)}),
        (2.0, {"text": ids[2]}),
        (3.0, {"text": ids[1]}),
    ]
    found = shown(SlackServer(posts=posts, answers=["ok", "reset", "ok", "500"]))
    assert found == {ids[0]: 2, ids[1]: 1, ids[2]: 2}
