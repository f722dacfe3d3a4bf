"""Typed YAML files of a deployment, refused naming the setting and what is wrong; and JSON in any of its layouts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import Misconfigured, Rejected

T = TypeVar("T")


def read_yaml(variable: str, path: Path, kind: type[T]) -> T:
    """The file at ``path``, which the setting ``variable`` names, as a ``kind``. Raises `Misconfigured`."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except OSError as exc:
        raise Misconfigured(variable, f"{path} cannot be read: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Misconfigured(variable, f"{path}: {exc}") from exc


def json_values(text: bytes) -> Iterator[bytes]:
    """A JSON list's elements, one object, or lines. Raises `Rejected` where it is none of these."""
    stripped = text.strip()
    if stripped.startswith(b"["):
        try:
            yield from (bytes(raw) for raw in msgspec.json.decode(stripped, type=list[msgspec.Raw]))
        except msgspec.DecodeError as exc:
            raise Rejected(f"not JSON: {exc}") from exc
        return
    try:
        msgspec.json.decode(stripped)
    except msgspec.DecodeError:
        yield from (line for line in stripped.splitlines() if line.strip())
    else:
        yield stripped
