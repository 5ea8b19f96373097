"""The demo's page: a Mini App, the chat, and what becomes of each row."""

from tma_sandbox.page.routes import Page
from tma_sandbox.page.ways import Way, Ways

__all__ = ["Page", "Way", "Ways"]
