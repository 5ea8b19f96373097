"""The database over PostgREST: function calls, the key in use, and the packaged schema."""

from realtime_bridge.database.keys import Keys, renewing_rpc, trial_of
from realtime_bridge.database.rpc import Refused, Rpc, Unavailable, shaped
from realtime_bridge.database.schema import (
    SchemaPart,
    migration_of,
    migrations_directory,
    schema_parts,
)

__all__ = [
    "Keys",
    "Refused",
    "Rpc",
    "SchemaPart",
    "Unavailable",
    "migration_of",
    "migrations_directory",
    "renewing_rpc",
    "schema_parts",
    "shaped",
    "trial_of",
]
