"""The parts that `pulseguard eval` and `calibrate` need, opened and closed: an embedder, and an index of its own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from pipeline import calibrate, evaluate
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration, trust
from pipeline.embedding import Embedder, open_embedder
from pipeline.evaluate import Case, Outcome
from pipeline.index import Index, open_index
from pipeline.settings import Settings
from schemas import Incident


async def outcomes(settings: Settings, incidents: Sequence[Incident], cases: Sequence[Case]) -> list[Outcome]:
    """What comes of the cases with these incidents as the only knowledge."""
    embedder = await asyncio.to_thread(open_embedder, settings)
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    async with fresh_index(settings, embedder) as index:
        await index.sync(evaluate.Shelf(incidents))
        return await evaluate.run(index, cases, catalogue, calibration, settings.min_confidence)


async def samples(settings: Settings, datasets: Sequence[Path]) -> list[calibrate.Sample]:
    """What datasets teach of confidence, one query as much as another, asked of each alone and of all together."""
    embedder = await asyncio.to_thread(open_embedder, settings)
    catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
    read = {str(folder): evaluate.read_dataset(folder) for folder in datasets}
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
    mean = sum(sample.weight for sample in found) / len(found)
    return [replace(sample, weight=sample.weight / mean) for sample in found]


def judged(found: Sequence[Outcome], calibration_file: str, least: float) -> list[Outcome]:
    """The same outcomes under another calibration."""
    other = load_calibration(calibration_file)
    sure = [trust(outcome.signals, other) for outcome in found]
    return [replace(o, trust=t, asks=t.right < least) for o, t in zip(found, sure, strict=True)]


@asynccontextmanager
async def fresh_index(settings: Settings, embedder: Embedder) -> AsyncIterator[Index]:
    """An empty index in a folder that goes with it, also where QDRANT_URL is set."""
    with tempfile.TemporaryDirectory(prefix="pulseguard-") as folder:
        async with open_index(replace(settings, qdrant_url=None, home=Path(folder)), embedder) as index:
            yield index
