"""Text to vectors through fastembed, in threads of its own: an ONNX run must not hold up the event loop."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read as it is imported: else it reports to its maker, from every process

import msgspec
from fastembed import SparseTextEmbedding, TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from onnxruntime.capi import onnxruntime_pybind11_state as onnx  # type: ignore[import-untyped]

from pipeline.embedded.model import DIMENSION, NAME, bundled_model
from pipeline.errors import Misconfigured
from pipeline.qdrant import Sparse
from pipeline.settings import Settings
from pipeline.words import STOP_WORDS, pairs

T = TypeVar("T")
_ONNX_REFUSALS = (onnx.NoSuchFile, onnx.InvalidProtobuf, onnx.InvalidGraph, onnx.Fail)
"""What an ONNX file that is missing or none raises; they share no base of their own."""
_RUNS = min(os.cpu_count() or 1, 4)
"""Runs of the model at once, of one thread each: threads of one run spin while they wait for each other, at the cost
of all else that the program does."""
_PAIR = 0.35
"""What two words that stand together in both weigh, where one word in both weighs 1: deploy/RETRIEVAL.md."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for by words: the ids of the ``words`` alone, and the ``vector`` of them and of their pairs."""

    words: list[int]
    vector: Sparse


class Embedder:
    """Dense vectors by a sentence model, sparse ones by BM25 (its inverse document frequency is Qdrant's part)."""

    def __init__(self, name: str, dense: TextEmbedding, sparse: SparseTextEmbedding) -> None:
        self.name = name
        self._dense = dense
        self._sparse = sparse
        self._model = ThreadPoolExecutor(_RUNS, thread_name_prefix="embedding")
        self._words = ThreadPoolExecutor(1, thread_name_prefix="words")
        self.dimension = len(self._vector("dimension"))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors, one a text.

        Each is a run of its own: where the model computes in integers, what shares a run shares their scale, and a text
        would have another vector in other company.
        """
        parts = [texts[start::_RUNS] for start in range(min(_RUNS, len(texts)))]  # waking a thread for each text costs
        done = await asyncio.gather(*(_in(self._model, partial(self._vectors, part)) for part in parts))
        return [done[place % _RUNS][place // _RUNS] for place in range(len(texts))]

    def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector: list[float] = next(iter(self._dense.embed([text]))).tolist()
        return vector

    async def sparse(self, texts: Sequence[str]) -> list[Sparse]:
        """BM25 term weights of documents: of their words, and of each two that stand together."""
        return await _in(self._words, lambda: [self._weights(text) for text in texts])

    def _weights(self, text: str) -> Sparse:
        words, both = self._sparse.embed([text, pairs(text)])
        weights = dict(zip(both.indices.tolist(), both.values.tolist(), strict=True))
        weights |= zip(words.indices.tolist(), words.values.tolist(), strict=True)
        return list(weights), list(weights.values())

    async def sparse_query(self, texts: Sequence[str]) -> list[Terms]:
        """The terms of queries."""
        return await _in(self._words, lambda: [self._terms(text) for text in texts])

    def _terms(self, text: str) -> Terms:
        words, both = ([term for v in self._sparse.query_embed(part) for term in v.indices.tolist()]
                       for part in (text, pairs(text)))  # fmt: skip
        weights = dict.fromkeys(both, _PAIR) | dict.fromkeys(words, 1.0)
        return Terms(words, (list(weights), list(weights.values())))


async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def open_embedder(settings: Settings) -> Embedder:
    """Load the model (blocking). Raises `Misconfigured` when EMBEDDING_MODEL names none that loads."""
    if settings.embedding_model is None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        return Embedder(NAME, _local(NAME, bundled_model(settings.home)), _bm25(settings.home))
    try:
        folder = Path(settings.embedding_model).expanduser()
        if folder.is_dir():
            # Cut short, it would make the tokenizer raise a bare Exception.
            msgspec.json.decode((folder / "tokenizer.json").read_bytes())
            dense = _local(f"local/{folder.name}", folder)
        else:
            dense = TextEmbedding(settings.embedding_model, threads=1)
        return Embedder(settings.embedding_model, dense, _bm25(settings.home))
    except (*_ONNX_REFUSALS, ValueError, KeyError, RuntimeError, OSError) as exc:
        raise Misconfigured("EMBEDDING_MODEL", f"{settings.embedding_model!r} does not load: {exc}") from exc


def _local(name: str, folder: Path) -> TextEmbedding:
    if name not in {model["model"] for model in TextEmbedding.list_supported_models()}:
        TextEmbedding.add_custom_model(
            model=name, pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf=name), dim=DIMENSION,
            model_file="model.onnx",
        )  # fmt: skip
    return TextEmbedding(name, specific_model_path=str(folder), threads=1)


def _bm25(home: Path) -> SparseTextEmbedding:
    return SparseTextEmbedding("Qdrant/bm25", specific_model_path=str(home), stopwords=STOP_WORDS, avg_len=60)
