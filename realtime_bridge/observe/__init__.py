"""What operators see: logs, metrics, health endpoints, systemd's status."""

from realtime_bridge.observe.backlog import Backlog
from realtime_bridge.observe.health import health_app, serve
from realtime_bridge.observe.logs import configure_logging
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.observe.outage import Outage
from realtime_bridge.observe.systemd import READY, STOPPING, beat_watchdog, notify_systemd
from realtime_bridge.observe.telemetry import FailureOf, Telemetry, no_failure
from realtime_bridge.observe.throttled_log import ThrottledLog

__all__ = [
    "READY",
    "STOPPING",
    "Backlog",
    "FailureOf",
    "Metrics",
    "Outage",
    "Telemetry",
    "ThrottledLog",
    "beat_watchdog",
    "configure_logging",
    "health_app",
    "no_failure",
    "notify_systemd",
    "serve",
]
