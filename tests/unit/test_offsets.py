"""The committable offset, against a model that is too simple to be wrong."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.offsets import Progress

Steps = st.lists(
    st.tuples(st.sampled_from(["deliver", "finish"]), st.integers(0, 11), st.lists(st.integers(1, 4), min_size=1)),
    max_size=60,
)


@given(Steps, st.integers(0, 1000))
def test_nothing_unfinished_is_ever_behind_the_commit(steps: list[tuple[str, int, list[int]]], start: int):
    """Whatever the order of finishing, and with gaps in the offsets, all below the committable offset is finished."""
    progress = Progress()
    delivered: list[int] = []
    finished: set[int] = set()
    following = start
    for step, which, gaps in steps:
        if step == "deliver":
            batch = [following + sum(gaps[:number]) for number in range(len(gaps))]
            delivered += batch
            progress.deliver(batch)
            following += sum(gaps)
        elif delivered:
            chosen = [delivered[(which + number) % len(delivered)] for number in range(len(gaps))]
            finished.update(chosen)
            progress.finish(chosen)
        unfinished = [offset for offset in delivered if offset not in finished]
        expected = min(unfinished) if unfinished else (delivered[-1] + 1 if delivered else None)
        assert progress.committable == expected
        assert progress.is_idle is (not unfinished)


def test_redelivered_records_hold_the_commit_back_again():
    """After a seek to an earlier offset, what was delivered again must be finished again."""
    progress = Progress()
    progress.deliver([5, 6, 7])
    progress.finish([5, 6, 7])
    assert progress.committable == 8
    progress.deliver([6, 7])
    assert progress.committable == 6
    progress.finish([7])
    assert progress.committable == 6
    progress.finish([6])
    assert progress.committable == 8


def test_a_batch_that_reaches_back_and_beyond_is_unfinished_whole():
    """Part of it was there before, part is new: the oldest unfinished of either counts."""
    progress = Progress()
    progress.deliver([5, 6])
    progress.finish([5])
    progress.deliver([4, 5, 6, 7])
    assert progress.committable == 4
    progress.finish([4, 5, 6, 7])
    assert progress.committable == 8


def test_the_first_record_counts_before_anything_was_committed():
    """A slow first record of a fresh partition is not passed over (Faust's second hole)."""
    progress = Progress()
    progress.deliver([0, 1])
    progress.finish([1])
    assert progress.committable == 0


def test_the_head_of_the_line_is_not_one_off():
    """With 10 unfinished and 11 done, 10 is committed, not 12 (Faust's first hole)."""
    progress = Progress()
    progress.deliver([10, 11])
    progress.finish([11])
    assert progress.committable == 10
