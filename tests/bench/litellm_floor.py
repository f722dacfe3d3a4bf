"""The floor under decisions by a model: how many calls litellm alone makes a second, of one of our questions.

Says what it reached in one line of JSON.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from pipeline import settings
from pipeline.llm.call import open_models

WARM = 20


async def main(asked: Path, count: int) -> None:
    known = settings.read()
    (model,) = open_models(known)
    question = json.loads(asked.read_bytes())
    slots = asyncio.Semaphore(known.llm_in_flight)

    async def ask() -> None:
        async with slots:
            deadline = asyncio.get_running_loop().time() + known.llm_timeout
            await model.ask(question["messages"], question["response_format"], deadline)

    await asyncio.gather(*(ask() for _ in range(WARM)))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(ask() for _ in range(count)))
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"rate": count / seconds, "cpu_us": spent / count * 1e6}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
