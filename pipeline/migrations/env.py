"""Alembic's entry: one connection, one transaction, one migrator at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 7_257_001
"""A number of our own for the advisory lock under which a migration runs."""


def _upgrade(connection: Connection) -> None:
    context.configure(connection=connection, version_table="pulseguard_schema", transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        context.run_migrations()


async def _run() -> None:
    # The driver reads the address itself: SQLAlchemy would hand it sslmode and the like as unknown arguments.
    address = {"dsn": context.config.attributes["database_url"], "timeout": 10}
    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, connect_args=address)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_run())
