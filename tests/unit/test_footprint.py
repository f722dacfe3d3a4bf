"""What the program leaves on a machine, and what it tells others: nothing that nobody asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import worker
from pipeline.settings import Settings
from tests.program import ROOT


def test_loading_the_program_writes_nothing(tmp_path: Path):
    """A library that reports to its maker keeps the number that it does so under in the user's home."""
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    load = "import pipeline.__main__, pipeline.app, pipeline.judge"
    subprocess.run([sys.executable, "-c", load], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_a_worker_needs_no_folder_where_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In a container that is read-only there is none."""
    monkeypatch.chdir(tmp_path)
    app = worker.build(Settings(kafka="127.0.0.1:1"))
    app._create_directories()
    assert list(tmp_path.iterdir()) == []
