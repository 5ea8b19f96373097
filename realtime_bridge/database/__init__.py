"""Supabase over PostgREST: calls of functions, the key in use, the schema that comes with us."""

from realtime_bridge.database.keys import Keys, trial_of
from realtime_bridge.database.rpc import Refused, Rpc, Unavailable, shaped
from realtime_bridge.database.schema import Part, migration_of, migrations_directory, schema_parts

__all__ = [
    "Keys",
    "Part",
    "Refused",
    "Rpc",
    "Unavailable",
    "migration_of",
    "migrations_directory",
    "schema_parts",
    "shaped",
    "trial_of",
]
