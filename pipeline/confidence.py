"""Signals to probabilities: two logistic models, fitted by `pulseguard calibrate`, their weights in a small file.

Two questions are kept apart. *Is there anything relevant* among the past incidents, and *is the first one right*: an
anomaly may be of a well-known kind (the first says yes) while several incidents fit it equally (the second, no).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from pipeline.errors import Misconfigured
from schemas import Signals

FEATURES = Signals.__struct_fields__
_CLEAR = 0.25
"""The margin or clearance beyond which the first one is no surer: an equal error type alone makes it 1."""
_FEW, _USUAL, _MANY = 10, 100, 200
"""The records that the shipped confidence is fitted on: beyond, the size tells no more. As of a usual one counts what
was decided before this was kept.
"""


class Logistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """p = 1 / (1 + exp(-(intercept + Σ weight · feature))): D. R. Cox, 1958.

    Never below ``least`` or above ``most``: what the least and most confident tenth of the samples bear out. A curve
    goes on beyond them, and says 1.00 where nobody has counted.
    """

    intercept: float
    weights: dict[str, float]
    least: float = 0.0
    most: float = 1.0

    def probability(self, features: Mapping[str, float]) -> float:
        """Between ``least`` and ``most``."""
        score = self.intercept + sum(weight * features[name] for name, weight in self.weights.items())
        return min(max(1 / (1 + math.exp(-min(max(score, -30.0), 30.0))), self.least), self.most)


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both models, and what they were fitted on, in words."""

    fitted_on: str
    relevant: Logistic
    right: Logistic


@dataclass(frozen=True, slots=True)
class Trust:
    """``relevant``: the probability that any past incident is about this. ``right``: that the first one is."""

    relevant: float
    right: float


def percent(share: float) -> str:
    """A probability for a reader, cut and not rounded: what misses a threshold does not read as if it met it."""
    return f"{math.floor(share * 100 + 1e-9)}%"  # 0.57 times 100 is a little less than 57


def features_of(signals: Signals) -> dict[str, float]:
    """What the models look at, by name."""
    features: dict[str, float] = msgspec.structs.asdict(signals)
    return features | {
        "margin": min(max(signals.margin, 0.0), _CLEAR),
        "clearance": min(signals.clearance, _CLEAR),
        "searched": math.log(min(max(signals.searched or _USUAL, _FEW), _MANY)),
    }


def trust(signals: Signals, calibration: Calibration) -> Trust:
    """Both probabilities; 0 where nothing was found."""
    if not any(msgspec.structs.astuple(signals)):
        return Trust(0.0, 0.0)
    features = features_of(signals)
    right = calibration.right.probability(features)
    # The first can only be right where something is: two fits need not know that.
    return Trust(round(max(calibration.relevant.probability(features), right), 4), round(right, 4))


def load_calibration(path: str | None) -> Calibration:
    """The file's calibration, or the one that comes with the program. Raises `Misconfigured`."""
    try:
        if path is not None:
            raw = Path(path).read_bytes()
        else:
            raw = resources.files("pipeline").joinpath("calibration.json").read_bytes()
        calibration = msgspec.json.decode(raw, type=Calibration)
    except OSError as exc:
        raise Misconfigured("CALIBRATION_FILE", f"{path} cannot be read: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise Misconfigured("CALIBRATION_FILE", f"{path}: {exc}") from exc
    unknown = {*calibration.relevant.weights, *calibration.right.weights} - set(FEATURES)
    if unknown:
        raise Misconfigured("CALIBRATION_FILE", f"{path}: no signal is called {', '.join(sorted(unknown))}")
    return calibration
