"""The parts that `pulseguard eval` and `calibrate` need, opened and closed: an embedder, and an index of its own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from pipeline import calibrate, dataset, evaluate
from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.confidence import Calibration, load_calibration, trust
from pipeline.dataset import Case
from pipeline.embedding import Embedder, open_embedder
from pipeline.errors import Rejected
from pipeline.evaluate import Outcome
from pipeline.index import Index, open_index
from pipeline.nearest import advise
from pipeline.settings import Settings
from schemas import Incident


async def outcomes(settings: Settings, incidents: Sequence[Incident], cases: Sequence[Case]) -> list[Outcome]:
    """What comes of the cases with these incidents as the only knowledge."""
    embedder = await asyncio.to_thread(open_embedder, settings)
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    async with fresh_index(settings, embedder) as index:
        await index.sync(evaluate.Shelf(incidents))
        return await evaluate.run(index, cases, catalogue, calibration, settings.min_confidence)


Other = Calibration | Mapping[str, Outcome]
"""What a run is compared with: another calibration, or the outcomes of another run by their cases' ids."""


async def samples(
    settings: Settings, datasets: Sequence[Path], noted: Callable[[str], None] = lambda _: None
) -> list[calibrate.Sample]:  # fmt: skip
    """What datasets teach of confidence, one query as much as another.

    ``noted``: as of `pipeline.dataset.read_dataset`.
    """
    embedder = await asyncio.to_thread(open_embedder, settings)
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    read = {str(folder): dataset.read_dataset(folder, noted=noted) for folder in datasets}  # all of them, first
    found: list[calibrate.Sample] = []
    for name, (incidents, cases) in read.items():
        found += await calibrate.samples_of(
            lambda: fresh_index(settings, embedder), incidents, cases, catalogue, calibration, of=name
        )
    if not found:
        raise Rejected(f"{', '.join(read)}: there is no query to fit on")
    mean = sum(sample.weight for sample in found) / len(found)
    return [replace(sample, weight=sample.weight / mean) for sample in found]


def read_other(path: Path, cases: Sequence[Case]) -> Other:
    """What is to be compared: a run of these ``cases`` that `pulseguard eval --save` wrote, or a calibration.

    Raises `Rejected` where a run holds none of these cases, or is none, and `Misconfigured` for a calibration so.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise Rejected(f"{path}: {exc.strerror}") from exc
    if not raw.lstrip().startswith(b"["):
        return load_calibration(str(path))
    try:
        run = {outcome.case.id: outcome for outcome in msgspec.json.decode(raw, type=list[Outcome])}
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise Rejected(f"{path}: {exc}") from exc
    if not any(case.id in run for case in cases):
        raise Rejected(f"{path}: no case of this dataset is in it")
    return run


def other(found: Sequence[Outcome], against: Other, settings: Settings) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes to compare, case by case: those found, and those of the other, which judges the same evidence."""
    if isinstance(against, Calibration):
        catalogue = load_catalogue(settings.actions_file)
        return list(found), [_judged(outcome, catalogue, against, settings.min_confidence) for outcome in found]
    common = [outcome for outcome in found if outcome.case.id in against]
    return common, [against[outcome.case.id] for outcome in common]


def _judged(outcome: Outcome, catalogue: Catalogue, calibration: Calibration, least: float) -> Outcome:
    sure = trust(outcome.signals, calibration)
    advice = advise(outcome.case.anomaly, outcome.evidence, sure, catalogue, least)
    return replace(outcome, trust=sure, asks=sure.right < least, action=advice.action.name)


@asynccontextmanager
async def fresh_index(settings: Settings, embedder: Embedder) -> AsyncIterator[Index]:
    """An empty index in a folder that goes with it, also where QDRANT_URL is set."""
    with tempfile.TemporaryDirectory(prefix="pulseguard-") as folder:
        async with open_index(replace(settings, qdrant_url=None, home=Path(folder)), embedder) as index:
            yield index
