"""Where a running `pulseguard up` serves: a file in PULSEGUARD_HOME that the other commands read."""

import os
from dataclasses import replace
from pathlib import Path

from pipeline.settings import Settings

FILE = "endpoints"


def as_lines(settings: Settings) -> dict[str, str]:
    """KEY → value, as `pulseguard env` prints it."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka or "",
        "DATABASE_URL": settings.database_url or "",
        "HTTP_URL": f"http://{settings.host_in_url}:{settings.http_port}",
        "RELAY_URL": f"ws://{settings.host_in_url}:{settings.relay_port}/ws/incidents",
    }


def known(settings: Settings) -> dict[str, str]:
    """The same, completed with those of a live `up` on the same home."""
    found = read(settings.home)
    return as_lines(completed(settings)) | {key: value for key, value in found.items() if key.endswith("_URL")}


def write(settings: Settings) -> None:
    """Say where this process serves. The file holds a password: nobody else may read it."""
    lines = as_lines(settings) | {"PID": str(os.getpid()), "EMBEDDED_KAFKA": str(int(settings.kafka_is_embedded))}
    path = settings.home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in lines.items())
    fresh.replace(path)


def remove(home: Path) -> None:
    """The process stops serving."""
    (home / FILE).unlink(missing_ok=True)


def read(home: Path) -> dict[str, str]:
    """What a live `up` on this home wrote; empty when none runs (a killed one leaves its file behind)."""
    try:
        lines = (home / FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        os.kill(int(found["PID"]), 0)
    except (KeyError, ValueError, ProcessLookupError):
        return {}
    except PermissionError:
        pass  # alive, under another user
    return found


def completed(settings: Settings) -> Settings:
    """The settings, with what they do not name taken from a live `up` on the same home."""
    found = read(settings.home)
    if settings.kafka is None and found.get("KAFKA_BOOTSTRAP_SERVERS"):
        embedded = found.get("EMBEDDED_KAFKA") == "1"
        settings = replace(settings, kafka=found["KAFKA_BOOTSTRAP_SERVERS"], kafka_is_embedded=embedded)
    if settings.database_url is None and found.get("DATABASE_URL"):
        settings = replace(settings, database_url=found["DATABASE_URL"])
    return settings
