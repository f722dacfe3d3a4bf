"""How the first incident stands out from the others. Pure; what each signal gives is in deploy/RETRIEVAL.md."""

import math
from collections.abc import Sequence

UNSEEN_COSINE = 0.2
"""The cosine assumed of an incident that is none of the nearest by meaning."""
_SOFT = 0.1
"""The difference in score at which a rival counts e times less."""
_BEYOND = 5
"""How many of the nearest by meaning may be more than just near."""


def clearance(score: float, rivals: Sequence[float]) -> float:
    """The margin of a fused ``score`` before all ``rivals`` together (at least one, none above it): their soft maximum.

    ``-0.1 * ln(sum(exp((rival - score) / 0.1)))``: over 0.1, the log odds of a softmax over the first and its rivals.
    """
    return -_SOFT * math.log(sum(math.exp((rival - score) / _SOFT) for rival in rivals))


def just_near(cosines: Sequence[float]) -> float:
    """The mean of the ``cosines``, highest first, beyond the fifth: what this query has in common with its whole field.

    A record all about one technology is near to any query about it, and that says nothing for the first.
    """
    beyond = cosines[_BEYOND:]
    return sum(beyond) / len(beyond) if beyond else UNSEEN_COSINE
