"""Python imports this at start when it lies on its path: time.time then shows what the file CHAOS_CLOCK adds to it."""

import os
import time

_real, _path = time.time, os.environ["CHAOS_CLOCK"]
_state = {"at": 0.0, "shift": 0.0}


def _shown() -> float:
    now = time.monotonic()
    if now - _state["at"] > 0.2:
        with open(_path) as file:  # noqa: PTH123 - pathlib asks this very clock
            _state.update(at=now, shift=float(file.read() or 0))
    return _real() + _state["shift"]


time.time = _shown
