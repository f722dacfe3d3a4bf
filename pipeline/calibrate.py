"""Fitting the confidence: from a dataset, or from what a team said of its decisions. `pulseguard calibrate`.

scikit-learn (pulseguard[calibrate]) is needed here and nowhere else; what runs is a file of a dozen numbers.
"""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import msgspec

from pipeline.catalogue import Catalogue
from pipeline.confidence import FEATURES, Calibration, Logistic, trust
from pipeline.errors import Misconfigured, Rejected
from pipeline.evaluate import Case, Shelf, auroc, brier, calibration_error, run
from pipeline.index import Index
from schemas import Decision, Incident, Signals

FOLDS = 5
LEAST = 60
"""Samples below which a fit says more of chance than of confidence."""
_HALF = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """What the signals were, whether anything was ``relevant`` and whether the first one was ``right``.

    Samples of one ``group`` are never on both sides of a split.
    """

    group: str
    signals: Signals
    relevant: bool
    right: bool
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The confidence in force against the new one, on samples that the new one was not fitted on."""

    samples: int
    brier_now: float
    brier_new: float
    ece_now: float
    ece_new: float
    auroc_now: float | None
    auroc_new: float | None

    @property
    def better(self) -> bool:
        """By Brier's score, which rewards both order and size."""
        return self.brier_new < self.brier_now


async def samples_of(
    open_index: Callable[[], AbstractAsyncContextManager[Index]], incidents: Sequence[Incident],
    cases: Sequence[Case], catalogue: Catalogue, calibration: Calibration,
) -> list[Sample]:  # fmt: skip
    """Samples of a dataset, each case asked in several ways, for a dataset's cases are easier than life.

    As it is; without its metrics; with the first half of its message; against incidents without titles; and once more
    with its relevant incidents taken away, so that all that is left is their kin.
    """
    untitled = [msgspec.structs.replace(item, title="-", error_type=None) for item in incidents]
    samples: list[Sample] = []
    for shelf in (incidents, untitled):
        async with open_index() as index:
            await index.sync(Shelf(shelf))
            for way in (_as_it_is, _without_metric, _halved, _orphaned):
                asked = [way(case) for case in cases if case.relevant or way is not _orphaned]
                for case, outcome in zip(asked, await run(index, asked, catalogue, calibration), strict=True):
                    samples.append(Sample(_group(case), outcome.signals, bool(case.relevant), outcome.right))
    return samples


def samples_of_feedback(judged: Sequence[tuple[Decision, str, bool | None]]) -> list[Sample]:
    """Samples of decisions, each with a verdict and whether the advice worked; the newest verdict on one counts.

    Accepted: the incident it rests on was the right one. Rejected or corrected: it was not. A verdict on an escalation
    says nothing of the nearest incident, and one that was accepted and did not work is no reason to trust it.
    """
    newest = {decision.id: (decision, verdict, worked) for decision, verdict, worked in judged}
    return [
        Sample(decision.fingerprint, decision.signals, right := verdict == "accept" and worked is not False, right)
        for decision, verdict, worked in newest.values()
        if decision.verdict == "recommend"
    ]


def fit(samples: Sequence[Sample], fitted_on: str) -> Calibration:
    """Both models, by penalised maximum likelihood. Raises `Rejected` where there is too little to learn from."""
    if len(samples) < LEAST:
        raise Rejected(f"{len(samples)} samples are too few to fit on: at least {LEAST}")
    return Calibration(
        fitted_on,
        _logistic(samples, [sample.relevant for sample in samples]),
        _logistic(samples, [sample.right for sample in samples]),
    )


def compare(samples: Sequence[Sample], now: Calibration) -> Comparison:
    """The confidence in force against new ones, each judged on the fold that it has not seen."""
    said_now, said_new, right = [], [], []
    for fold in range(FOLDS):
        held = [sample for sample in samples if _fold(sample.group) == fold]
        new = fit([sample for sample in samples if _fold(sample.group) != fold], "a fold")
        said_now += [trust(sample.signals, now).right for sample in held]
        said_new += [trust(sample.signals, new).right for sample in held]
        right += [sample.right for sample in held]
    return Comparison(
        len(right), brier(said_now, right) or 0.0, brier(said_new, right) or 0.0,
        calibration_error(said_now, right) or 0.0, calibration_error(said_new, right) or 0.0,
        auroc(said_now, right), auroc(said_new, right),
    )  # fmt: skip


def _logistic(samples: Sequence[Sample], labels: Sequence[bool]) -> Logistic:
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - an optional extra
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    except ImportError as exc:
        raise Misconfigured("pulseguard[calibrate]", "is not installed: fitting needs scikit-learn") from exc
    if len(set(labels)) == 1:
        raise Rejected("every sample says the same: there is nothing to tell apart")
    rows = [list(msgspec.structs.astuple(sample.signals)) for sample in samples]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    model.fit(rows, labels, logisticregression__sample_weight=[sample.weight for sample in samples])
    scale, logistic = model[0], model[-1]
    weights = logistic.coef_[0] / scale.scale_
    intercept = logistic.intercept_[0] - (weights * scale.mean_).sum()
    return Logistic(round(float(intercept), 4), {n: round(float(w), 4) for n, w in zip(FEATURES, weights, strict=True)})


def _as_it_is(case: Case) -> Case:
    return case


def _orphaned(case: Case) -> Case:
    """Without its relevant incidents: what is found then is at best a sibling."""
    return replace(case, relevant=frozenset(), hidden=case.relevant)


def _without_metric(case: Case) -> Case:
    return replace(case, anomaly=msgspec.structs.replace(case.anomaly, metric=None))


def _halved(case: Case) -> Case:
    words = (case.anomaly.message or "").split()
    half = " ".join(words[: max(len(words) // _HALF, 4)])
    return replace(case, anomaly=msgspec.structs.replace(case.anomaly, metric=None, message=half or None))


def _group(case: Case) -> str:
    """Cases of one incident belong together; one without belongs to itself."""
    return min(case.relevant | case.hidden, default=case.id)


def _fold(group: str) -> int:
    return zlib.crc32(group.encode()) % FOLDS
