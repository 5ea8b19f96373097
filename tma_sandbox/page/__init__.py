"""The demo's panes, a Mini App and the chat with the bot, and each row's timeline."""

from tma_sandbox.page.routes import Page
from tma_sandbox.page.timelines import Timeline, Timelines

__all__ = ["Page", "Timeline", "Timelines"]
