"""What a connection asks the server for."""

from dataclasses import dataclass
from typing import Self

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Refusal


@dataclass(frozen=True, slots=True)
class Subscription:
    """The bells that one connection asks for, and the kind of channel it joins."""

    bells: frozenset[Bell]
    private: bool

    @classmethod
    def to(cls, bells: frozenset[Bell]) -> Self:
        """Ask for all of these bells; only the broadcast needs a private channel.

        >>> Subscription.to(frozenset({Bell.CHANGES})).private
        False
        """
        return cls(bells, private=Bell.BROADCAST in bells)

    def without(self, refusal: Refusal) -> "Subscription | None":
        """Return what may still be granted after a refusal; None if nothing is left to ask for.

        >>> both = Subscription.to(frozenset(Bell))
        >>> both.without(Refusal.PRIVATE) == Subscription.to(frozenset({Bell.CHANGES}))
        True
        >>> both.without(Refusal.CHANGES) == Subscription.to(frozenset({Bell.BROADCAST}))
        True
        """
        match refusal:
            case Refusal.PRIVATE if Bell.BROADCAST in self.bells:
                left = Subscription(self.bells - {Bell.BROADCAST}, private=False)
            case Refusal.PUBLIC if not self.private:
                left = Subscription(self.bells, private=True)
            case Refusal.CHANGES if Bell.CHANGES in self.bells:
                left = Subscription(self.bells - {Bell.CHANGES}, private=self.private)
            case _:
                return None
        return left if left.bells else None
