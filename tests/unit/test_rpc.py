"""What PostgREST's answers mean."""

import json

import pytest

from realtime_bridge.rpc import Refused, Unavailable, answer


def test_an_answer_is_its_json():
    """200 with a body, 204 without one."""
    assert answer("f", 200, '[{"id": 1}]') == [{"id": 1}]
    assert answer("f", 204, "") is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_unavailable(status):
    """Gateways answer with HTML pages; that is no reason to give up."""
    with pytest.raises(Unavailable, match=f"HTTP {status}"):
        answer("f", status, "<html>Bad gateway</html>")


def test_a_truncated_body_is_unavailable():
    """Half an answer says nothing."""
    with pytest.raises(Unavailable):
        answer("f", 200, '[{"id"')


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (404, {"code": "PGRST202", "message": "Could not find the function"}, "supabase db push"),
        (401, {"message": "Invalid API key"}, "SUPABASE_KEY"),
        (401, {"code": "PGRST301", "message": "JWT expired"}, "SUPABASE_KEY"),
        (403, {"code": "42501", "message": "permission denied for function f"}, "SUPABASE_KEY"),
        (404, "<html>nothing here</html>", "SUPABASE_URL"),
    ],
)
def test_what_a_person_must_mend_says_how(status, body, fix):
    """A refusal carries its fix."""
    text = body if isinstance(body, str) else json.dumps(body)

    with pytest.raises(Refused) as refused:
        answer("f", status, text)

    assert fix in refused.value.fix
