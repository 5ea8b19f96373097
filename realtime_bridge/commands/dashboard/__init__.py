"""`realtime-bridge dashboard`: a page for the person on call, on the loopback interface only."""

from realtime_bridge.commands.dashboard.command import run_dashboard

__all__ = ["run_dashboard"]
