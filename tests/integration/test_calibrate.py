"""`pulseguard calibrate` on a real record: what a team said of decisions, and whether it helps on what was held out."""

import io
import random
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from pipeline import judge
from pipeline.confidence import Calibration, Logistic, load_calibration, trust
from pipeline.settings import Settings
from pipeline.stages.record import Record
from schemas import Evidence, Feedback, Signals
from tests.integration.test_record import NOW, decision


async def judged(record: Record, count: int, odds: float, prefix: str) -> None:
    """Recommendations whose nearest incident is right with ``odds`` times its similarity, and a verdict on each."""
    chance = random.Random(prefix)
    for number in range(count):
        similarity, name = chance.random(), f"{prefix}_{number}"
        made = decision(
            f"dec_{name}", episode_id=f"ep_{name}", fingerprint=name, verdict="recommend", matched_incident="i",
            evidence=[Evidence("i", "t", similarity)], signals=Signals(similarity=similarity),
        )  # fmt: skip
        await record.save_decisions([(made, None)])
        verdict = "accept" if chance.random() < odds * similarity else "reject"
        await record.save_feedback(Feedback(id=name, decision_id=made.id, verdict=verdict, created_at=NOW))


async def test_feedback_refits_the_confidence_and_says_whether_it_is_better(
    record: Record, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A confidence that is sure of everything is beaten by the fit; that fit, in force, by no further one."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    await judged(record, 250, 0.9, tmp_path.name)
    boast, fitted = tmp_path / "boast.json", tmp_path / "fitted.json"
    sure = Logistic(4.0, {})
    boast.write_bytes(msgspec.json.encode(Calibration("nothing", sure, sure)))
    for in_force, verdict in ((boast, "it is better."), (fitted, "not clearly better")):
        text = io.StringIO()
        await judge.calibrate(Settings(calibration_file=str(in_force)), [], fitted, Console(file=text, width=200))
        assert verdict in text.getvalue()
    found = load_calibration(str(fitted))
    assert found.relevant == sure
    low, high = (trust(Signals(similarity=similarity), found).right for similarity in (0.2, 0.9))
    assert (low, high) == (pytest.approx(0.18, abs=0.15), pytest.approx(0.81, abs=0.15))
