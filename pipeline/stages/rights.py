"""What a role has to be allowed to do with the tables, asked for at start: later it would look like an outage."""

from collections.abc import Set as AbstractSet

from pipeline.errors import Misconfigured
from pipeline.stages.record import Record

WRITTEN = {
    "worker": (
        "anomalies", "decisions", "episodes", "feedback", "incidents", "progress", "proposals", "provenance",
        "revisions", "situation_keys",
    ),
    "slack": ("messages", "notifications"),
    "gateway": (),
}  # fmt: skip
"""By the roles that read tables, all of them. The relay reads none."""
READ = (*WRITTEN["worker"], *WRITTEN["slack"], "readings", "silences")
_CHANGE = ("INSERT", "UPDATE", "DELETE")


async def check_rights(record: Record, roles: AbstractSet[str]) -> None:
    """Raise `Misconfigured` where this user lacks a right that one of the roles needs."""
    using = WRITTEN.keys() & roles
    needs = [(table, right) for role in using for table in WRITTEN[role] for right in _CHANGE]
    needs += [(table, "SELECT") for table in READ if using]
    async with record.connection() as connection:
        missing = await connection.fetchrow(_MISSING, [table for table, _ in needs], [right for _, right in needs])
    if missing is not None:
        table, right = missing
        raise Misconfigured("DATABASE_URL", f"this user may not {right.lower()} in table {table!r}", f"grant {right}")


_MISSING = """
SELECT name, privilege FROM unnest($1::text[], $2::text[]) AS needs (name, privilege)
WHERE NOT has_table_privilege(name, privilege) LIMIT 1
"""
