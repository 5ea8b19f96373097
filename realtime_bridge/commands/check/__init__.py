"""The doctor behind `check`: looks at everything the bridge needs, and says what mends it."""

from realtime_bridge.commands.check.examination import examine
from realtime_bridge.commands.check.finding import Finding, Fix, Status, Where
from realtime_bridge.commands.check.fixes import Fixes

__all__ = ["Finding", "Fix", "Fixes", "Status", "Where", "examine"]
