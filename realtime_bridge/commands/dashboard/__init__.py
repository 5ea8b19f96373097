"""`realtime-bridge dashboard`: a page for the person on call, on the loopback interface only."""

from realtime_bridge.commands.dashboard.command import run_dashboard
from realtime_bridge.commands.dashboard.demo import demo_dashboard
from realtime_bridge.commands.dashboard.server import STYLESHEET
from realtime_bridge.commands.dashboard.stage import Seen

__all__ = ["STYLESHEET", "Seen", "demo_dashboard", "run_dashboard"]
