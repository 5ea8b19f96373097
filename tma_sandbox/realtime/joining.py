"""The parameters of a join."""

from dataclasses import dataclass
from typing import Any, Self

_WAIT_MILLISECONDS = 15_000


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """The parameters of a join. One of the wrong type counts as absent, as on the real server.

    `wait` is how many seconds the reply may wait for the bindings; None to reply at once.
    """

    access_token: str | None
    private: bool
    broadcast_ack: bool
    broadcast_self: bool
    replication_ready: bool
    presence: bool
    postgres_changes: list[dict[str, Any]]
    wait: float | None

    @classmethod
    def read(cls, payload: Any) -> Self:
        """Parse the payload of a join."""
        join = _map(payload)
        config = _map(join.get("config"))
        broadcast, presence = _map(config.get("broadcast")), _map(config.get("presence"))
        options = _map(config.get("postgres_changes_options"))
        asked = config.get("postgres_changes")
        return cls(
            access_token=_access_token(join),
            private=_flag(config.get("private")),
            broadcast_ack=_flag(broadcast.get("ack")),
            broadcast_self=_flag(broadcast.get("self")),
            replication_ready=_flag(broadcast.get("replication_ready")),
            presence=_flag(presence.get("enabled")),
            postgres_changes=[one for one in asked if isinstance(one, dict)]
            if isinstance(asked, list)
            else [],
            wait=_seconds(options.get("timeout")) if _flag(options.get("wait")) else None,
        )


def _access_token(join: dict[str, Any]) -> str | None:
    """Return the token of the join; None, also for an opaque key, means the connection's."""
    for name in ("user_token", "access_token"):
        if isinstance(token := join.get(name), str):
            return None if token.startswith("sb_") else token
    return None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _flag(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _seconds(milliseconds: Any) -> float:
    valid = isinstance(milliseconds, int) and milliseconds > 0
    return (milliseconds if valid else _WAIT_MILLISECONDS) / 1000
