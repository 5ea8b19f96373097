"""A planner that takes a few seconds and says what it is doing."""

import asyncio

from realtime_bridge.request_tables import Plan, Request, Step

_REPORTS = ("reading the history", "comparing with similar leads", "choosing the steps")
_SECONDS = 1.5  # longer than a chat's messages may change, so that each report is to be seen
_STEPS = ("Say hello", "Send the proposal", "Call back")


async def make_plan(request: Request) -> Plan:
    """Make the same plan for everybody; its steps have no time, so nobody is reminded."""
    for report in _REPORTS:
        await request.progress(report)
        await asyncio.sleep(_SECONDS)
    steps = [Step(step_id=number, description=text) for number, text in enumerate(_STEPS, 1)]
    return Plan(summary=", ".join(_STEPS), steps=steps)
