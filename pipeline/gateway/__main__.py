"""Write the gateway's OpenAPI document; with ``--check`` say whether it differs: `schemas.generate` for HTTP."""

import sys
from typing import Any

from pipeline.gateway.app import build
from pipeline.gateway.openapi import described
from pipeline.settings import Settings
from schemas.generate import FOLDER, render

FILE = FOLDER / "openapi.json"


def document() -> bytes:
    """As it is committed. The handlers are described without the parts that they would need to run."""
    nothing: Any = None
    app = build(Settings(), nothing, nothing, nothing, nothing, {}, nothing, nothing)
    return render(described(app.openapi_schema.to_schema()))


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` return 1 when it differs."""
    if "--check" not in arguments:
        FILE.write_bytes(document())
        return 0
    if FILE.exists() and FILE.read_bytes() == document():
        return 0
    sys.stderr.write(f"{FILE.name} differs from the handlers: run `python -m pipeline.gateway`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
