"""How the first incident stands out, as numbers."""

import pytest

from pipeline.standing import UNSEEN_COSINE, clearance, just_near


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
