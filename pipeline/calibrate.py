"""Fitting the confidence: from datasets, or from a team's verdicts or past. `pulseguard calibrate`.

scikit-learn (pulseguard[calibrate]) is needed here and nowhere else; what runs is a file of a dozen numbers.
"""

import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import msgspec

from pipeline.catalogue import Catalogue
from pipeline.confidence import Calibration, Logistic, Trust, features_of, trust
from pipeline.dataset import Case, headline
from pipeline.errors import Misconfigured, Rejected
from pipeline.evaluate import Shelf, auroc, brier, calibration_error, run
from pipeline.index import Index
from schemas import Action, Decision, Evidence, Feedback, Incident, Signals

FOLDS = 5
LEAST = 30
"""Samples below which a fit says more of chance than of confidence."""
PRIOR = 20
"""How many verdicts the confidence in force counts for, where a team's own move it: deploy/RETRIEVAL.md."""
MOVED = ("similarity", "clearance", "lead", "coverage", "exact", "distinct")
RIGHT = (*MOVED, "searched")
RELEVANT = ("similarity", "lead", "coverage", "exact", "distinct", "searched")
"""The signals that each model may use: which, and why not the others, is in deploy/RETRIEVAL.md.

What a team says moves all but the weight of its record's size: that has hardly another one to be told from.
"""
KNOWN = 0.65
"""The share of a dataset's weight on cases with an answer: the mean of those at hand, which have 0.54 to 0.77."""
_NAMED = 0.2
"""The weight of a case that is asked by the alert's name: nearly trivial, but all there is of equal error types."""
_ORPHANED = 0.1
"""The weight of a case whose incident was taken away, beside the case itself."""
_PARTS, _PARTED = (10, 25, 60), 0.5
"""The sizes of parts of a dataset that are asked by themselves, as of a record that is young; and what they weigh."""
_HALF = 2
_TENTH = 10
_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """What the signals were, whether anything was ``relevant`` and whether the first one was ``right``.

    ``relevant`` is None where nobody said. Samples of one ``group`` are never on both sides of a split. ``of`` names
    the dataset, where it was asked just as the dataset asks.
    """

    group: str
    signals: Signals
    relevant: bool | None
    right: bool
    weight: float = 1.0
    of: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The confidence in force against the new one, on samples that the new one was not fitted on.

    ``gain`` is the 95 % interval of what the new one takes off Brier's score.
    """

    samples: int
    brier_now: float
    brier_new: float
    ece_now: float
    ece_new: float
    auroc_now: float | None
    auroc_new: float | None
    gain: tuple[float, float]

    @property
    def better(self) -> bool:
        """By Brier's score, which rewards both order and size, and by more than chance."""
        return self.gain[0] > 0


async def samples_of(
    open_index: Callable[[], AbstractAsyncContextManager[Index]], incidents: Sequence[Incident],
    cases: Sequence[Case], catalogue: Catalogue, calibration: Calibration, *, of: str = "",
) -> list[Sample]:  # fmt: skip
    """Samples of a dataset: each case as it is asked, and with less weight in ways that are harder (`_WAYS`).

    Each also with its relevant incidents taken away, so that all that is left is their kin; and of parts of the
    incidents. Of all weight, `KNOWN` is on cases with an answer. Among incidents of other datasets nothing is asked:
    who wrote a case did not look whether one of those answers it.
    """
    reported = headline(cases)
    told = {case.id for case in reported}
    samples: list[Sample] = []
    async with open_index() as index:
        await index.sync(Shelf(incidents))
        for way, share in _WAYS:
            asked = [*map(way, cases), *(_orphaned(way(case)) for case in cases if case.relevant)]
            for case, outcome in zip(asked, await run(index, asked, catalogue, calibration), strict=True):
                plain = way is _as_it_is and case.id in told and not case.hidden
                weight = share * (1.0 if case.id in told else _NAMED) * (_ORPHANED if case.hidden else 1.0)
                relevant = bool(case.relevant)
                samples.append(
                    Sample(_group(case), outcome.signals, relevant, outcome.right, weight, of if plain else "")
                )
    samples = _balanced(samples, len(told))
    for size in _PARTS:
        parted: list[Sample] = []
        for part, asked in _parts(incidents, reported, size):
            async with open_index() as index:
                await index.sync(Shelf(part))
                parted += [
                    Sample(_group(outcome.case), outcome.signals, bool(outcome.case.relevant), outcome.right)
                    for outcome in await run(index, asked, catalogue, calibration)
                ]
        samples += _balanced(parted, len(told) * _PARTED / len(_PARTS))
    return samples


def _parts(
    incidents: Sequence[Incident], cases: Sequence[Case], size: int
) -> Iterator[tuple[list[Incident], list[Case]]]:
    """The incidents dealt into parts of this size, each with the cases that it answers and as many that it does not."""
    chance = random.Random(size)  # noqa: S311 - a draw, no secret
    dealt = chance.sample(incidents, len(incidents))
    for start in range(0, len(dealt) - size, size):
        part = dealt[start : start + size]
        ids = {incident.id for incident in part}
        known = [case for case in cases if case.relevant & ids]
        unknown = [_orphaned(case) for case in cases if not case.relevant & ids]
        yield part, known + chance.sample(unknown, min(len(known), len(unknown)))


def _balanced(samples: Sequence[Sample], total: float) -> list[Sample]:
    """The samples with a sum of weights of ``total``, `KNOWN` of it on those with an answer."""
    weights = {known: sum(sample.weight for sample in samples if sample.relevant is known) for known in (True, False)}
    shares = {True: KNOWN, False: 1 - KNOWN} if all(weights.values()) else {True: 1.0, False: 1.0}
    return [
        replace(item, weight=item.weight * total * shares[item.relevant] / weights[item.relevant])
        for item in samples
        if item.relevant is not None
    ]


def borne_out(advised: str, done: Action | None, *, worked: bool | None) -> bool | None:
    """Whether the action ``advised`` is the one that was ``done``, and did not fail; None where nobody can say.

    Of something else than what failed it is not known whether it would have helped.
    """
    if done is None:
        return None
    same = done.name == advised
    return None if worked is False and not same else same and worked is not False


def first_borne_out(evidence: Sequence[Evidence], done: Action | None, *, worked: bool | None) -> bool | None:
    """The same of the action of the nearest incident; None where it names none, or one that failed then."""
    if not evidence or evidence[0].action is None or evidence[0].outcome == "failed":
        return None
    return borne_out(evidence[0].action.name, done, worked=worked)


def samples_of_feedback(judged: Sequence[tuple[Decision, Feedback]]) -> list[Sample]:
    """Samples of decisions, each with a verdict; the newest verdict on one counts.

    Accepted, or corrected in no more than parameters: the nearest incident was the right one, unless the advice did
    not work. Otherwise rejected or corrected: it was not; whether any other was relevant, nobody said. Of an escalation
    only a correction tells, by what was done. Advice that rests on a farther incident says nothing of the nearest.
    """
    newest = {decision.id: (decision, feedback) for decision, feedback in judged}
    return [
        Sample(decision.fingerprint, decision.signals, None, right)
        for decision, feedback in newest.values()
        if (right := _judged(decision, feedback)) is not None
    ]


def _judged(decision: Decision, feedback: Feedback) -> bool | None:
    found = first_borne_out(decision.evidence, feedback.action, worked=feedback.worked)
    if decision.verdict == "escalate":
        return found if feedback.verdict == "correct" else None
    if not decision.evidence or decision.matched_incident != decision.evidence[0].incident_id:
        return None
    if feedback.verdict == "accept":
        return feedback.worked is not False
    return feedback.verdict == "correct" and found is True


def fit(
    samples: Sequence[Sample], fitted_on: str, now: Calibration, unjudged: Sequence[Signals] = ()
) -> Calibration:  # fmt: skip
    """Both models, by penalised maximum likelihood. Raises `Rejected` where there is too little to learn from.

    Where samples say what is relevant, both are fitted anew. What a team says of the first incident alone moves the one
    ``now`` in force, which counts as `PRIOR` verdicts more; and as the verdict on decisions with ``unjudged`` signals:
    on what was not advised, hardly anybody gives one, and a fit on advice alone would trust the unknown as much.
    """
    if len(samples) < LEAST:
        raise Rejected(f"{len(samples)} samples are too few to fit on: at least {LEAST}")
    return _fit(samples, fitted_on, now, unjudged)


def _fit(samples: Sequence[Sample], fitted_on: str, now: Calibration, unjudged: Sequence[Signals]) -> Calibration:
    said = [sample for sample in samples if sample.relevant is not None]
    if said:
        relevant = _logistic(said, RELEVANT, lambda sample: bool(sample.relevant))
        return Calibration(fitted_on, relevant, _logistic(samples, RIGHT, lambda sample: sample.right))
    moved = _logistic(samples, MOVED, lambda sample: sample.right, _in_force(samples, unjudged, now))
    # What was counted before stays counted: few verdicts, all of them on advice, bear out less at either end.
    least, most = min(moved.least, now.right.least), max(moved.most, now.right.most)
    return Calibration(fitted_on, now.relevant, msgspec.structs.replace(moved, least=least, most=most))


def _in_force(samples: Sequence[Sample], unjudged: Sequence[Signals], now: Calibration) -> list[Sample]:
    """What is in force, as samples: each set of signals is right with its probability, and wrong with the rest.

    Those ``unjudged`` weigh together no more than the ``samples``.
    """
    share = min(1.0, len(samples) / max(len(unjudged), 1))
    weighed = [(sample.signals, PRIOR / len(samples)) for sample in samples] + [(one, share) for one in unjudged]
    sure = [(signals, weight, trust(signals, now).right) for signals, weight in weighed]
    return [
        Sample("in force", signals, None, right, weight * (p if right else 1 - p))
        for signals, weight, p in sure
        for right in (True, False)
    ]


def held_out(samples: Sequence[Sample], now: Calibration, unjudged: Sequence[Signals] = ()) -> list[Trust]:
    """What calibrations say of each sample that were fitted without its fold, that is without its group.

    Raises `Rejected` where all are of one fold: few faults that come again and again.
    """
    if len({_fold(sample.group) for sample in samples}) == 1:
        raise Rejected("the samples are of too few faults: a fit on some could not be judged on others")
    fitted = [_fit([s for s in samples if _fold(s.group) != fold], "a fold", now, unjudged) for fold in range(FOLDS)]
    return [trust(sample.signals, fitted[_fold(sample.group)]) for sample in samples]


def compare(samples: Sequence[Sample], now: Calibration, said: Sequence[Trust], seed: int = 1) -> Comparison:
    """The confidence in force against new ones, which ``said`` of each sample what `held_out` has."""
    said_now, said_new = [trust(sample.signals, now).right for sample in samples], [one.right for one in said]
    right, weights = [sample.right for sample in samples], [sample.weight for sample in samples]
    taken: dict[str, list[float]] = defaultdict(list)
    for sample, before, after in zip(samples, said_now, said_new, strict=True):
        taken[sample.group].append(((before - sample.right) ** 2 - (after - sample.right) ** 2) * sample.weight)
    return Comparison(
        len(right), brier(said_now, right, weights) or 0.0, brier(said_new, right, weights) or 0.0,
        calibration_error(said_now, right, weights) or 0.0, calibration_error(said_new, right, weights) or 0.0,
        auroc(said_now, right), auroc(said_new, right), _interval(list(taken.values()), seed),
    )  # fmt: skip


def by_dataset(samples: Sequence[Sample], said: Sequence[Trust]) -> dict[str, dict[str, float | None]]:
    """The confidence's figures for each dataset, asked as it asks: ``said`` is what `held_out` has."""
    return {
        name: _figures([(sample, sure) for sample, sure in zip(samples, said, strict=True) if sample.of == name])
        for name in dict.fromkeys(sample.of for sample in samples if sample.of)
    }


def _figures(said: Sequence[tuple[Sample, Trust]]) -> dict[str, float | None]:
    sure, right = [one.right for _, one in said], [sample.right for sample, _ in said]
    known = [(one.right, sample.right) for sample, one in said if sample.relevant]
    return {
        "cases": len(said),
        "ece": calibration_error(sure, right),
        "brier": brier(sure, right),
        "auroc_right": auroc([p for p, _ in known], [label for _, label in known]),
        "auroc_match": auroc([one.relevant for _, one in said], [bool(sample.relevant) for sample, _ in said]),
    }


def _interval(groups: Sequence[Sequence[float]], seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean, by bootstrap of whole groups: what is said of one incident is not independent."""
    chance = random.Random(seed)  # noqa: S311 - resampling, no secret
    means = []
    for _ in range(_ROUNDS):
        drawn = [value for group in chance.choices(groups, k=len(groups)) for value in group]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    return means[int(0.025 * _ROUNDS)], means[int(0.975 * _ROUNDS)]


def _logistic(
    samples: Sequence[Sample], names: Sequence[str], label: Callable[[Sample], bool], prior: Sequence[Sample] = ()
) -> Logistic:  # fmt: skip
    """A model in which no signal counts against the first one: one whose weight comes out negative is left out.

    Each of them speaks for it; a negative weight is chance, or what another signal has already said. The ``prior`` is
    fitted on with the samples, and bears nothing out.
    """
    fitted_on = [*samples, *prior]
    labels = [label(sample) for sample in fitted_on]
    if len(set(labels)) == 1:
        raise Rejected("every sample says the same: there is nothing to tell apart")
    weights: dict[str, float] = {}
    kept = list(names)
    while kept:
        intercept, weights = _fitted(fitted_on, kept, labels)
        if all(weight >= 0 for weight in weights.values()):
            break
        kept.remove(min(kept, key=weights.__getitem__))
    else:
        raise Rejected("no signal speaks for the first incident in these samples")
    model = Logistic(round(intercept, 4), {name: round(weight, 4) for name, weight in weights.items()})
    sure = [model.probability(features_of(sample.signals)) for sample in samples]
    order = sorted(range(len(samples)), key=sure.__getitem__)
    tenth = max(len(order) // _TENTH, 1)
    least, most = (_borne_out([(samples[i], labels[i]) for i in part]) for part in (order[:tenth], order[-tenth:]))
    return msgspec.structs.replace(model, least=round(least, 4), most=round(max(least, most), 4))


def _borne_out(counted: Sequence[tuple[Sample, bool]]) -> float:
    """The share of these that are true by Laplace's rule of succession, (k + 1) / (n + 2), n the number of groups."""
    count = len({sample.group for sample, _ in counted})
    total = sum(sample.weight for sample, _ in counted)
    share = sum(sample.weight for sample, label in counted if label) / total
    return (share * count + 1) / (count + 2)


def _fitted(
    samples: Sequence[Sample], names: Sequence[str], labels: Sequence[bool]
) -> tuple[float, dict[str, float]]:  # fmt: skip
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - an optional extra
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    except ImportError as exc:
        raise Misconfigured("pulseguard[calibrate]", "is not installed: fitting needs scikit-learn") from exc
    rows = [[features_of(sample.signals)[name] for name in names] for sample in samples]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(rows, labels, logisticregression__sample_weight=[sample.weight for sample in samples])
    scale, logistic = model[0], model[-1]
    weights = logistic.coef_[0] / scale.scale_
    return float(logistic.intercept_[0] - (weights * scale.mean_).sum()), dict(
        zip(names, map(float, weights), strict=True)
    )


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


def _thinned(case: Case) -> Case:
    """Half of the message's words, drawn by the case's name."""
    words, chance = (case.anomaly.message or "").split(), random.Random(case.id)  # noqa: S311 - a draw, no secret
    kept = sorted(chance.sample(range(len(words)), max(len(words) // _HALF, min(len(words), 4))))
    text = " ".join(words[place] for place in kept)
    return replace(case, anomaly=msgspec.structs.replace(case.anomaly, metric=None, message=text or None))


_WAYS: tuple[tuple[Callable[[Case], Case], float], ...] = (
    (_as_it_is, 1.0), (_without_metric, 0.25), (_halved, 0.1), (_thinned, 0.1)
)  # fmt: skip
"""How cases are asked, and what each way weighs: as the datasets ask most, for so do those who publish anomalies."""


def _group(case: Case) -> str:
    """Cases of one incident belong together; one without belongs to itself."""
    return min(case.relevant | case.hidden, default=case.id)


def _fold(group: str) -> int:
    return zlib.crc32(group.encode()) % FOLDS
