"""The demo's page: a Mini App, the chat, and what becomes of each row."""

from realtime_bridge.local.page.routes import Page
from realtime_bridge.local.page.ways import Way, Ways

__all__ = ["Page", "Way", "Ways"]
