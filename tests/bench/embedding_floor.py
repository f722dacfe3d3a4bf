"""The floor under decisions: what the embedding model alone embeds a second, of the same texts on the same cores.

Says what it reached in one line of JSON.
"""

import asyncio
import itertools
import json
import os
import sys
import time

import msgspec

from pipeline import settings
from pipeline.embedding import open_embedder
from pipeline.words import query_of
from schemas import Anomaly
from tests.bench.load import distinct

BATCH = 500


async def main(mark: str, count: int) -> None:
    embedder = open_embedder(settings.read())
    decode = msgspec.json.Decoder(Anomaly).decode
    texts = [query_of(decode(value)).text for value in itertools.islice(distinct(count, mark), count)]
    await embedder.embed(texts[:32])
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, count, BATCH):
        await embedder.embed(texts[start : start + BATCH])
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"rate": count / seconds, "cpu_us": spent / count * 1e6}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
