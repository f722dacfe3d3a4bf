"""How the first incident stands out from the others. Pure; what each signal gives is in deploy/RETRIEVAL.md."""

import math
from collections.abc import Sequence

UNSEEN_COSINE = 0.2
"""The cosine assumed of an incident that is none of the nearest by meaning."""
_SOFT = 0.1
"""The difference in score at which a rival counts e times less."""
_BEYOND, _FIELD = 5, 25
"""How many of the nearest by meaning may be more than just near, and how many after them make the field."""


def clearance(score: float, rivals: Sequence[float]) -> float:
    """The margin of a fused ``score`` before all ``rivals`` together (at least one, none above it): their soft maximum.

    ``-0.1 * ln(sum(exp((rival - score) / 0.1)))``: over 0.1, the log odds of a softmax over the first and its rivals.
    """
    return -_SOFT * math.log(sum(math.exp((rival - score) / _SOFT) for rival in rivals))


def just_near(cosines: Sequence[float]) -> float:
    """The mean of the ``cosines``, highest first, beyond the fifth: what this query has in common with its whole field.

    A record all about one technology is near to any query about it, and that says nothing for the first. In one of less
    than thirty incidents the sixth is already far: what is missing counts as `UNSEEN_COSINE`.
    """
    field = cosines[_BEYOND : _BEYOND + _FIELD]
    return (sum(field) + UNSEEN_COSINE * (_FIELD - len(field))) / _FIELD


def distinctness(title: float, beside: Sequence[float]) -> float:
    """How much nearer the first one's title is to the query than to the nearest of the other titles.

    ``title`` is its cosine with the query, ``beside`` are those with the other titles. Where five runbooks of one
    component are called alike, a query must be very near to one of them to mean just that.
    """
    return title - max(beside, default=UNSEEN_COSINE)
