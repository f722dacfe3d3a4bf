"""Typed YAML files of a deployment, refused naming the setting and what is wrong."""

from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import Misconfigured

T = TypeVar("T")


def read_yaml(variable: str, path: Path, kind: type[T]) -> T:
    """The file at ``path``, which the setting ``variable`` names, as a ``kind``. Raises `Misconfigured`."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except OSError as exc:
        raise Misconfigured(variable, f"{path} cannot be read: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Misconfigured(variable, f"{path}: {exc}") from exc
