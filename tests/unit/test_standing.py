"""How the first incident stands out, as numbers."""

import pytest

from pipeline.standing import UNSEEN_COSINE, clearance, distinctness, just_near


@pytest.mark.parametrize(
    ("rivals", "expected"),
    [([0.7], 0.3), ([0.7, 0.7], 0.3 - 0.0693), ([0.7, -9.0], 0.3), ([1.0], 0.0), ([1.0] * 9, -0.2197)],
)
def test_clearance_is_the_margin_before_all_rivals_together(rivals: list[float], expected: float):
    """Before one it is the margin; each doubling of equal rivals takes 0.1 times ln 2 off; far ones take nothing."""
    assert clearance(1.0, rivals) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [([], UNSEEN_COSINE), ([0.9] * 5, UNSEEN_COSINE), ([0.9] * 5 + [0.4] * 25, 0.4), ([0.9] * 5 + [-0.05] * 5, 0.15)],
)
def test_what_is_just_near_leaves_the_nearest_out(cosines: list[float], expected: float):
    """A record too small to have a field is taken to have an ordinary one: no lead is made of having nothing else."""
    assert just_near(cosines) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("title", "beside", "expected"), [(0.8, [0.3, 0.1], 0.5), (0.8, [0.9], -0.1), (0.6, [], 0.6 - UNSEEN_COSINE)]
)
def test_a_title_is_distinct_by_what_it_is_nearer_to(title: float, beside: list[float], expected: float):
    """The nearest other title counts; where there is none, one as far as most are."""
    assert distinctness(title, beside) == pytest.approx(expected)
