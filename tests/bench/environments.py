"""The peers' own environments, under .bench/: made at the first run, from exact versions, apart from ours."""

import asyncio
import functools
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.program import ROOT

PEERS = ROOT / "tests" / "bench" / "peers"
FOLDER = ROOT / ".bench"
SECONDS = 600


class NotHere(Exception):
    """A peer cannot be had on this machine; the text says why."""


async def python_of(requirements: str) -> str:
    """A Python with the packages of this file. Raises `NotHere`."""
    return await asyncio.to_thread(_python, requirements)


@functools.cache
def _python(requirements: str) -> str:
    file = PEERS / requirements
    folder = FOLDER / f"{file.stem}-{hashlib.sha256(file.read_bytes()).hexdigest()[:10]}"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        uv = _uv()
        shutil.rmtree(folder, ignore_errors=True)
        _run([uv, "venv", "-q", "--python", sys.executable, str(folder)], file.name)
        _run([uv, "pip", "install", "-q", "--python", str(python), "-r", str(file)], file.name)
        (folder / ".complete").touch()
    return str(python)


async def node_with_ws() -> tuple[str, Path]:
    """Node, and the folder that holds the package `ws`. Raises `NotHere`."""
    return await asyncio.to_thread(_node)


@functools.cache
def _node() -> tuple[str, Path]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHere("Node (node and npm) is not on the PATH")
    lock = PEERS / "package-lock.json"
    folder = FOLDER / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:10]}"
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, folder / name)
        _run([npm, "ci", "--ignore-scripts", "--silent", "--prefix", str(folder)], "package-lock.json")
        (folder / ".complete").touch()
    return node, folder


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if uv is None:
        raise NotHere("uv, which installs the peers, is neither on the PATH nor in this environment")
    return uv


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotHere(f"{what} could not be installed: {exc!s:.200}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotHere(f"{what} could not be installed: {said[-1][:200] if said else 'no reason given'}")
