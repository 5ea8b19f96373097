"""A local stand-in for Supabase Realtime: same protocol, same frames, same error texts."""

from realtime_bridge.local.realtime.server import LocalRealtime
from realtime_bridge.local.realtime.tuning import Delays, Limits

__all__ = ["Delays", "Limits", "LocalRealtime"]
