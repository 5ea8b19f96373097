"""What the demo's bridge has of its own: a planner that reports progress, and templates."""

from pathlib import Path

from realtime_bridge.commands.demo_bridge.planner import make_plan

TEMPLATES = Path(__file__).with_name("templates")

__all__ = ["TEMPLATES", "make_plan"]
