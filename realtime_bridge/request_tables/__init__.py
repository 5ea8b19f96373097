"""Requests of the Mini App, answered on their row by a function of yours."""

from realtime_bridge.request_tables.handler import RequestHandler
from realtime_bridge.request_tables.loader import load_request_tables
from realtime_bridge.request_tables.request import Request, RequestOutcome
from realtime_bridge.request_tables.request_queue import RequestQueue
from realtime_bridge.request_tables.table import RequestTable

__all__ = [
    "Request",
    "RequestHandler",
    "RequestOutcome",
    "RequestQueue",
    "RequestTable",
    "load_request_tables",
]
