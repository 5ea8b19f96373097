"""All joined channels, and which of them get a change or a broadcast."""

from collections import defaultdict
from typing import Any, Protocol

from tma_sandbox.realtime.subscriptions import Subscriber, Subscription


class Member(Subscriber, Protocol):
    """One joined channel of one socket."""

    @property
    def name(self) -> str:
        """The topic without its prefix."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether policies decided who may join."""
        ...

    def broadcast(self, payload: Any) -> None:
        """Send a broadcast to the client."""
        ...


class ChannelRegistry:
    """The joined channels of all sockets by topic, and their subscriptions.

    A private and a public channel of the same name are unrelated.
    """

    def __init__(self) -> None:
        self._members: dict[tuple[str, bool], dict[Member, None]] = defaultdict(dict)
        self._served: dict[Member, tuple[Subscription, ...]] = {}

    def enter(self, member: Member) -> None:
        """Add a joined channel."""
        self._members[member.name, member.is_private][member] = None

    def leave(self, member: Member) -> None:
        """Remove a channel and its subscriptions."""
        self._served.pop(member, None)
        members = self._members[member.name, member.is_private]
        members.pop(member, None)
        if not members:
            del self._members[member.name, member.is_private]

    def serve(self, member: Member, subscriptions: tuple[Subscription, ...]) -> None:
        """Replace the subscriptions of a channel."""
        self._served[member] = subscriptions

    def subscriptions(self) -> list[Subscription]:
        """All current subscriptions."""
        return [one for served in self._served.values() for one in served]

    def forget_subscriptions(self) -> None:
        """Remove all subscriptions; the channels stay joined."""
        self._served.clear()

    def broadcast(
        self, name: str, payload: Any, *, private: bool, without: Member | None = None
    ) -> None:
        """Send a broadcast to all channels of a topic except `without`."""
        for member in tuple(self._members.get((name, private), ())):
            if member is not without:
                member.broadcast(payload)
