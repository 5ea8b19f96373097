"""Who has joined what, and who is to be told."""

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
        """Whether policies were asked before it joined."""
        ...

    def broadcast(self, payload: Any) -> None:
        """Take a broadcast."""
        ...


class Directory:
    """All joined channels of all sockets, by topic, and their served bindings.

    A private and a public channel of the same name have nothing to do with each other.
    """

    def __init__(self) -> None:
        self._members: dict[tuple[str, bool], dict[Member, None]] = defaultdict(dict)
        self._served: dict[Member, tuple[Subscription, ...]] = {}

    def enter(self, member: Member) -> None:
        """Note that a channel is joined."""
        self._members[member.name, member.is_private][member] = None

    def leave(self, member: Member) -> None:
        """Forget a channel."""
        self._served.pop(member, None)
        room = self._members[member.name, member.is_private]
        room.pop(member, None)
        if not room:
            del self._members[member.name, member.is_private]

    def serve(self, member: Member, subscriptions: tuple[Subscription, ...]) -> None:
        """Hand out these changes to a channel from now on, instead of what it had before."""
        self._served[member] = subscriptions

    def subscriptions(self) -> list[Subscription]:
        """All bindings that are served now."""
        return [one for served in self._served.values() for one in served]

    def forget_subscriptions(self) -> None:
        """Hand out changes to nobody any more; the channels stay joined."""
        self._served.clear()

    def broadcast(
        self, name: str, payload: Any, *, private: bool, without: Member | None = None
    ) -> None:
        """Give a broadcast to all channels of a topic, but not to `without`."""
        for member in tuple(self._members.get((name, private), ())):
            if member is not without:
                member.broadcast(payload)
