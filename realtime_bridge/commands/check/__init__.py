"""`realtime-bridge check`: examines everything the bridge needs, and prints a fix per problem."""

from realtime_bridge.commands.check.examination import examine
from realtime_bridge.commands.check.finding import Finding, Fix, Status, Where
from realtime_bridge.commands.check.fixes import Fixes

__all__ = ["Finding", "Fix", "Fixes", "Status", "Where", "examine"]
