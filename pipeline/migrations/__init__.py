"""The database's shape, as numbered plain SQL, applied by alembic. Safe when several processes start at once."""

import asyncio
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError

from pipeline.errors import Misconfigured
from pipeline.stages.record import open_record

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps its context in module globals; between processes the advisory lock of ``env.py`` does it."""


async def migrate(database_url: str, to: str = "head") -> None:
    """Bring the database to a revision, else the newest.

    Raises `Misconfigured` when it does not let us in or make tables, or has a revision of a release after this one.
    """
    async with open_record(database_url):
        pass  # says what is wrong with the address or the password, in our words
    await asyncio.to_thread(_upgrade, database_url, to)


def _upgrade(database_url: str, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    with _ONE_AT_A_TIME:
        try:
            command.upgrade(config, to)
        except CommandError as exc:  # it holds a revision that is not among ours
            raise Misconfigured("DATABASE_URL", f"a newer release has used this database: {exc}", "run that") from exc
        except DBAPIError as exc:
            why = exc.orig and exc.orig.__cause__  # the driver's own words, without sqlalchemy's around them
            mend = "does the user own the tables, and may it create some?"
            raise Misconfigured("DATABASE_URL", f"PostgreSQL refuses the migration: {why}", mend) from exc
