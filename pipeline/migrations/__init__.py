"""The database's shape, as numbered plain SQL, applied by alembic. Safe when several processes start at once."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config


async def migrate(database_url: str) -> None:
    """Bring the database to the newest revision. Raises `Misconfigured` when it cannot be reached."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    await asyncio.to_thread(command.upgrade, config, "head")
