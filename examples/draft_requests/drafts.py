"""Answers draft_requests: a message to the lead about a step that was done."""

from realtime_bridge import Completed, NewEvent, Request, RequestTable, Unanswerable


async def write_draft(request: Request) -> Completed:
    """Write the draft, and tell the chat that it is there."""
    step_id, proof_url = request.columns["step_id"], request.columns["proof_url"]
    if not proof_url:
        raise Unanswerable("Add a link to the proof first.")  # the user reads this
    context = request.columns["lead_context"]
    draft = f"Hello {request.lead_name}, step {step_id} is done: {proof_url}"
    if topic := context.get("topic"):
        draft += f"\nShall we talk about {topic} next?"
    return Completed(
        {"draft": draft},
        [NewEvent("draft_ready", request.about | {"step_id": step_id, "draft": draft})],
    )


drafts = RequestTable(
    "draft_requests", write_draft, timeout=30, concurrency=4, failed_event="draft_failed"
)
