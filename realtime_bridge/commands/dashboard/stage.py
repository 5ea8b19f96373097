"""What a demo shows beside the numbers: whoever writes rows, and whoever reads the messages."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Seen:
    """What the demo knows of a row that its database does not tell the dashboard."""

    sent_at: float | None  # unix seconds, when its Bot API got the message
    lead_name: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """`panes`: the address of a page to frame; `seen()`: of the latest rows, by id."""

    panes: str
    seen: Callable[[], Awaitable[Mapping[int, Seen]]]

    @property
    def origin(self) -> str:
        """The one origin that the dashboard's page may frame."""
        parts = urlsplit(self.panes)
        return f"{parts.scheme}://{parts.netloc}"

    async def beside(self, ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The ways of rows, each with the time from due to sent and the lead's name."""
        seen = await self.seen()
        return [{**way, **_told(seen.get(way["id"]), way["due_at"])} for way in ways]


def _told(seen: Seen | None, due_at: str) -> dict[str, Any]:
    if seen is None:
        return {"sent_ms": None, "lead_name": None}
    sent_ms = None
    if seen.sent_at is not None:
        sent_ms = (seen.sent_at - datetime.fromisoformat(due_at).timestamp()) * 1000
    return {"sent_ms": sent_ms, "lead_name": seen.lead_name}
