"""How good retrieval and advice are, measured on a dataset: `pulseguard eval`.

The very query, search, confidence and rule of the pipeline, on a Qdrant of its own; no broker, no PostgreSQL.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from pipeline.catalogue import Catalogue
from pipeline.confidence import Calibration, Trust, trust
from pipeline.dataset import Case
from pipeline.index import Found, Index
from pipeline.nearest import Advice, advise
from pipeline.words import query_of
from schemas import Evidence, Incident, Signals

HIGHEST = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. ``rank`` is that of the first relevant incident, from 1; None where none was found.

    ``asks`` says that the first one is not sure enough to act on; ``action`` is the engine's advice; ``cost_usd``
    is None where the model's price is not known.
    """

    case: Case
    rank: int | None
    relevant_found: Sequence[int]
    signals: Signals
    trust: Trust
    asks: bool
    action: str
    seconds: float
    cost_usd: float | None = 0.0
    evidence: Sequence[Evidence] = ()

    @property
    def right(self) -> bool:
        """Whether the first incident is a relevant one."""
        return self.rank == 1


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two configurations, and between what the gain of the second lies; None where nothing tells."""

    before: float | None
    after: float | None
    low: float | None
    high: float | None


class Shelf:
    """Incidents that are in no database, for the index to derive from."""

    def __init__(self, incidents: Sequence[Incident]) -> None:
        self._held = {incident.id: incident for incident in incidents}

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        """Those of ``ids``, or the first ``limit``."""
        return [self._held[name] for name in (self._held if ids is None else ids)][:limit]

    async def incident_versions(self) -> dict[str, int]:
        """Every one is new."""
        return dict.fromkeys(self._held, 1)

    async def incident_state(self) -> tuple[int, int]:
        """It never changes."""
        return len(self._held), len(self._held)


async def run(
    index: Index, cases: Sequence[Case], catalogue: Catalogue, calibration: Calibration, least: float = 0.5
) -> list[Outcome]:
    """Search and decide each case by itself, as one anomaly after another."""
    outcomes = []
    for case in cases:
        started = perf_counter()
        (found,) = await index.search([query_of(case.anomaly)], HIGHEST, case.hidden)
        sure = trust(found.signals, calibration)
        advice = advise(case.anomaly, found.evidence, sure, catalogue, least)
        outcomes.append(_outcome(case, found, sure, least, advice, perf_counter() - started))
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Every figure of a set of outcomes; None where it holds nothing to measure it by."""
    known = [outcome for outcome in outcomes if outcome.case.relevant]
    acted = [outcome for outcome in outcomes if outcome.case.action]
    asked = [outcome for outcome in outcomes if outcome.asks]
    sure, right = [o.trust.right for o in outcomes], [o.right for o in outcomes]
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return {
        "cases": len(outcomes),
        "with_relevant": len(known),
        "recall_at_1": _mean([outcome.rank is not None and outcome.rank <= 1 for outcome in known]),
        "recall_at_3": _mean([outcome.rank is not None and outcome.rank <= 3 for outcome in known]),  # noqa: PLR2004
        "recall_at_5": _mean([outcome.rank is not None and outcome.rank <= 5 for outcome in known]),  # noqa: PLR2004
        "mrr": _mean([1 / outcome.rank if outcome.rank else 0.0 for outcome in known]),
        "ndcg": _mean([_ndcg(outcome) for outcome in known]),
        "action_accuracy": _mean([outcome.action == outcome.case.action for outcome in acted]),
        "escalation_precision": _mean([not outcome.right for outcome in asked]),
        "escalation_recall": _mean([o.asks for o in outcomes if not o.right]),
        "ece": calibration_error(sure, right),
        "brier": brier(sure, right),
        "auroc_right": auroc([o.trust.right for o in known], [o.right for o in known]),
        "auroc_match": auroc([o.trust.relevant for o in outcomes], [bool(o.case.relevant) for o in outcomes]),
        "cost_usd": _cost(outcomes),
        "latency_ms_p50": seconds[len(seconds) // 2] * 1000 if seconds else None,
    }


def bins(
    sure: Sequence[float], right: Sequence[bool], weights: Sequence[float] | None = None, count: int = 10
) -> Iterator[tuple[float, float, float]]:  # fmt: skip
    """Mean confidence, share right and size (sum of weights) of each bin of equal width that holds anything."""
    mass = weights or [1.0] * len(sure)
    for number in range(count):
        low, high = number / count, (number + 1) / count
        held = [i for i, p in enumerate(sure) if low <= p < high or (p == high == 1)]
        if held:
            size = sum(mass[i] for i in held)
            yield sum(mass[i] * sure[i] for i in held) / size, sum(mass[i] * right[i] for i in held) / size, size


def calibration_error(
    sure: Sequence[float], right: Sequence[bool], weights: Sequence[float] | None = None
) -> float | None:  # fmt: skip
    """Expected calibration error over ten bins of equal width: Guo et al., ICML 2017, equation 3."""
    if not sure:
        return None
    counted = list(bins(sure, right, weights))
    return sum(size * abs(said - was) for said, was, size in counted) / sum(size for _, _, size in counted)


def brier(sure: Sequence[float], right: Sequence[bool], weights: Sequence[float] | None = None) -> float | None:
    """The mean squared distance of what was said from what was: Brier, 1950."""
    if not sure:
        return None
    mass = weights or [1.0] * len(sure)
    return sum(m * (said - was) ** 2 for m, said, was in zip(mass, sure, right, strict=True)) / sum(mass)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """The probability that a positive scores above a negative, ties half: Hanley and McNeil, 1982."""
    positives = [score for score, label in zip(scores, labels, strict=True) if label]
    negatives = [score for score, label in zip(scores, labels, strict=True) if not label]
    if not positives or not negatives:
        return None
    below = sorted(negatives)
    wins = sum((bisect_left(below, p) + bisect_right(below, p)) / 2 for p in positives)
    return wins / (len(positives) * len(negatives))


def risk_coverage(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """For each number of cases answered, the most confident first: the share answered, and the share wrong of it."""
    ordered = sorted(outcomes, key=lambda outcome: -outcome.trust.right)
    wrong, curve = 0, []
    for number, outcome in enumerate(ordered, 1):
        wrong += not outcome.right
        curve.append((number / len(ordered), wrong / number))
    return curve


def differences(
    ours: Sequence[Outcome], theirs: Sequence[Outcome], names: Sequence[str], *, rounds: int = 300, seed: int = 0
) -> dict[str, Difference]:  # fmt: skip
    """Each figure of both, case by case the same, and the gain's 95 % interval by paired bootstrap (Efron, 1979)."""
    chance = random.Random(seed)  # noqa: S311 - resampling, no secret
    gains: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        drawn = [chance.randrange(len(ours)) for _ in ours]
        before, after = (figures([side[i] for i in drawn]) for side in (ours, theirs))
        for name, held in gains.items():
            was, is_now = before[name], after[name]
            if was is not None and is_now is not None:
                held.append(is_now - was)
    before, after = figures(ours), figures(theirs)
    return {name: Difference(before[name], after[name], *_middle(sorted(held))) for name, held in gains.items()}


def _middle(ordered: Sequence[float]) -> tuple[float | None, float | None]:
    """The ends of the middle 95 %."""
    return (ordered[int(0.025 * len(ordered))], ordered[int(0.975 * len(ordered))]) if ordered else (None, None)


def _outcome(case: Case, found: Found, sure: Trust, least: float, advice: Advice, seconds: float) -> Outcome:
    hits = places_of(found.evidence, case.relevant)
    return Outcome(
        case, hits[0] if hits else None, hits, found.signals, sure, sure.right < least, advice.action.name, seconds,
        0.0, found.evidence,
    )  # fmt: skip


def places_of(evidence: Sequence[Evidence], relevant: frozenset[str]) -> list[int]:
    """The places, from 1, at which ``evidence`` has what is ``relevant``."""
    return [place for place, item in enumerate(evidence, 1) if item.incident_id in relevant]


def _ndcg(outcome: Outcome) -> float:
    gained = sum(1 / math.log2(1 + rank) for rank in outcome.relevant_found)
    best = sum(1 / math.log2(1 + rank) for rank in range(1, min(len(outcome.case.relevant), HIGHEST) + 1))
    return gained / best


def _cost(outcomes: Sequence[Outcome]) -> float | None:
    costs = [outcome.cost_usd for outcome in outcomes]
    return None if None in costs else sum(cost or 0.0 for cost in costs) / max(len(costs), 1)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
