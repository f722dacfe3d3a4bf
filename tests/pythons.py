"""The other Pythons that PulseGuard supports: a part of the suite on each that this machine has.

`python -m tests.pythons PYTEST_ARGUMENT…` plays it in environments of their own, from the same lock, and prints which
they were: none is no fault.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.program import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
_VERSION = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"  # Debian has Pythons that make no environment


def others(own: str, home: Path) -> dict[str, str]:
    """An interpreter for each supported version but our ``own``: on the PATH, or one of pyenv's under ``home``."""
    found = {}
    for version in SUPPORTED:
        places = [f"python{version}", *sorted(map(str, home.glob(f".pyenv/versions/{version}.*/bin/python3")))]
        working = next((place for place in places if _says(place) == version), None)
        if version != own and working:
            found[version] = working
    return found


def _says(interpreter: str) -> str | None:
    try:
        done = subprocess.run([interpreter, "-c", _VERSION], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """Play it on each; the first that fails ends it."""
    played = []
    for version, interpreter in others(f"{sys.version_info[0]}.{sys.version_info[1]}", Path.home()).items():
        environment = Path(sys.prefix) / version
        for command in (
            [os.environ.get("MAKE", "make"), "-s", "setup", f"PYTHON={interpreter}", f"VENV={environment}"],
            [environment / "bin" / "python", "-m", "pytest", "-q", *arguments],
        ):
            code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
            if code:
                return code
        played.append(version)
    sys.stdout.write(f"on Python {', '.join(played)}: {shlex.join(arguments)}\n" if played else "no other Python\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
