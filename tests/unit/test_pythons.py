"""Which other Pythons `make test` plays a part of the suite on."""

from pathlib import Path

import pytest

from tests.pythons import SUPPORTED, others


def pretend(place: Path, version: str) -> str:
    """An interpreter that says that it is of this version."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\necho {version}\n")
    place.chmod(0o755)
    return str(place)


@pytest.mark.parametrize("own", SUPPORTED)
def test_the_others_are_on_the_path_or_pyenvs(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One of each supported version but our own; a name that leads to another version is none."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert others(own, tmp_path) == {}
    pretend(tmp_path / "bin" / "python3.11", "3.11")
    pretend(tmp_path / "bin" / "python3.13", "3.14")
    found = {
        "3.11": "python3.11",
        "3.12": pretend(tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin" / "python3", "3.12"),
        "3.13": pretend(tmp_path / ".pyenv" / "versions" / "3.13.0" / "bin" / "python3", "3.13"),
    }
    assert others(own, tmp_path) == {version: place for version, place in found.items() if version != own}
