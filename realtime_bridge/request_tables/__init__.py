"""Request tables: rows that the Mini App inserts and a function of yours answers in place."""

from realtime_bridge.request_tables.handler import RequestHandler
from realtime_bridge.request_tables.loader import load_request_tables
from realtime_bridge.request_tables.plans import Plan, PlanError, Planner, Step
from realtime_bridge.request_tables.request import Completed, NewEvent, Request, RequestOutcome
from realtime_bridge.request_tables.request_queue import RequestQueue
from realtime_bridge.request_tables.table import Later, RequestTable, Unanswerable

__all__ = [
    "Completed",
    "Later",
    "NewEvent",
    "Plan",
    "PlanError",
    "Planner",
    "Request",
    "RequestHandler",
    "RequestOutcome",
    "RequestQueue",
    "RequestTable",
    "Step",
    "Unanswerable",
    "load_request_tables",
]
