"""The parts that `pulseguard eval` and `calibrate` need, opened and closed: an embedder, and an index of its own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
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


async def samples(
    settings: Settings, datasets: Sequence[Path], noted: Callable[[str], None] = lambda _: None
) -> list[calibrate.Sample]:  # fmt: skip
    """What datasets teach of confidence, one query as much as another, asked of each alone and of all together.

    ``noted``: as of `pipeline.dataset.read_dataset`.
    """
    embedder = await asyncio.to_thread(open_embedder, settings)
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    read = {str(folder): dataset.read_dataset(folder, noted=noted) for folder in datasets}
    everything = [incident for incidents, _ in read.values() for incident in incidents]
    found: list[calibrate.Sample] = []
    for name, (incidents, cases) in read.items():
        found += await calibrate.samples_of(
            lambda: fresh_index(settings, embedder),
            incidents,
            cases,
            catalogue,
            calibration,
            of=name,
            others=everything,
        )
    if not found:
        raise Rejected(f"{', '.join(read)}: there is no query to fit on")
    mean = sum(sample.weight for sample in found) / len(found)
    return [replace(sample, weight=sample.weight / mean) for sample in found]


def other(found: Sequence[Outcome], against: Path, settings: Settings) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes to compare, case by case: those found, and those of another configuration.

    ``against`` is a run that `pulseguard eval --save` wrote, or a calibration, by which the same evidence is judged.
    Raises `Rejected` where a run holds none of these cases, or is none.
    """
    raw = _read(against)
    if not raw.lstrip().startswith(b"["):
        catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(str(against))
        return list(found), [_judged(outcome, catalogue, calibration, settings.min_confidence) for outcome in found]
    try:
        run = {outcome.case.id: outcome for outcome in msgspec.json.decode(raw, type=list[Outcome])}
    except msgspec.MsgspecError as exc:
        raise Rejected(f"{against}: {exc}") from exc
    common = [outcome for outcome in found if outcome.case.id in run]
    if not common:
        raise Rejected(f"{against}: no case of this dataset is in it")
    return common, [run[outcome.case.id] for outcome in common]


def _judged(outcome: Outcome, catalogue: Catalogue, calibration: Calibration, least: float) -> Outcome:
    sure = trust(outcome.signals, calibration)
    advice = advise(outcome.case.anomaly, outcome.evidence, sure, catalogue, least)
    return replace(outcome, trust=sure, asks=sure.right < least, action=advice.action.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise Rejected(f"{path}: {exc.strerror}") from exc


@asynccontextmanager
async def fresh_index(settings: Settings, embedder: Embedder) -> AsyncIterator[Index]:
    """An empty index in a folder that goes with it, also where QDRANT_URL is set."""
    with tempfile.TemporaryDirectory(prefix="pulseguard-") as folder:
        async with open_index(replace(settings, qdrant_url=None, home=Path(folder)), embedder) as index:
            yield index
