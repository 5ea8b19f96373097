"""A user's own folder of templates."""

import pytest
from structlog.testing import capture_logs

from realtime_bridge.messages.renderer import Messages
from realtime_bridge.messages.templates import BadTemplates

from .events import NOW, event


@pytest.fixture
def folder(tmp_path):
    """Write files into a templates folder; returns the folder."""

    def write(**files):
        for name, content in files.items():
            language, _, rest = name.partition("__")
            path = tmp_path / language / (rest if "." in rest else f"{rest}.html")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def text(templates_dir, event_type, payload=None, *, default_locale="en", **columns):
    """Render an event with this folder; return what the user reads."""
    messages = Messages(templates_dir=templates_dir, default_locale=default_locale)
    return messages.render(event(event_type, payload, **columns), now=NOW).plain


def test_a_template_adds_an_event_type(folder):
    """A new event type takes one file."""
    mine = folder(en__call_missed="{{ lead_name }} called{% if at %} at {{ at }}{% endif %}.")

    assert text(mine, "call_missed", {"at": "9:00"}) == "Ann Lee called at 9:00."
    assert text(mine, "call_missed") == "Ann Lee called."
    assert text(mine, "step_skipped", {"step_id": 3}) == "Step 3 skipped for Ann Lee."


def test_a_template_replaces_the_packaged_one(folder):
    """The user's file overrides ours, including the generic text."""
    mine = folder(en__step_skipped="Skipped: {{ step_id }}", en__unknown="{{ event_type }}!")

    assert text(mine, "step_skipped", {"step_id": 3}) == "Skipped: 3"
    assert text(mine, "call_missed") == "call_missed!"


@pytest.mark.parametrize(
    ("locale", "default", "expected"),
    [
        ("pt-BR", "en", "mine, Brazil"),
        ("pt-PT", "en", "mine, Portuguese"),
        ("uk", "en", "mine, English"),  # the user's default before our Ukrainian
        ("uk", "fr", "Ann Lee: дію виконано."),
        ("it", "fr", "Action completed for Ann Lee."),
        (None, "pt_BR", "mine, Brazil"),
        (None, "uk", "Ann Lee: дію виконано."),
    ],
)
def test_the_closest_language_is_found(folder, locale, default, expected):
    """The user's folder before ours; in it the locale, its language, then the default."""
    mine = folder(
        pt_BR__unknown="mine, Brazil",
        pt__unknown="mine, Portuguese",
        en__unknown="mine, English",
    )
    if default == "fr":
        (mine / "en" / "unknown.html").unlink()

    assert text(mine, "x", locale=locale, default_locale=default) == expected


def test_a_language_brings_its_words(folder):
    """words.toml has texts for the button and the days; only the button falls back to English."""
    mine = folder(**{"de__words.toml": 'today = "heute"', "de__tidied": "{{ due|day }}"})
    messages = Messages(templates_dir=mine, mini_app_url="https://t.me/my_bot/app")

    today = messages.render(event("tidied", {"due": "2026-12-01"}, locale="de"), now=NOW)
    tomorrow = messages.render(event("tidied", {"due": "2026-12-02"}, locale="de"), now=NOW)

    assert today.plain == "heute"
    assert tomorrow.plain == "2. Dezember 2026"  # an English "tomorrow" would not do
    assert today.button.text == "Open lead"


def test_single_words_can_be_replaced(folder):
    """Words are merged over ours, one by one."""
    mine = folder(**{"en__words.toml": 'button = "Show"\nlead = "a customer"\ntoday = "now"'})
    messages = Messages(templates_dir=mine, mini_app_url="https://t.me/my_bot/app")

    message = messages.render(
        event("step_due", {"due": "2026-12-01"}, lead_name="your lead"), now=NOW
    )

    assert message.plain == "Reminder for a customer: a step is due now."
    assert message.button.text == "Show"


def test_a_template_sees_the_whole_payload(folder):
    """Top-level keys are text ready to print, `payload` keeps lists, objects and numbers."""
    mine = folder(
        en__order=(
            "<b>{{ payload.customer.name }}</b> ({{ payload.customer.phone.home }})\n"
            '{% for item in payload["items"] %}- {{ item }}\n{% endfor %}'
            '{{ payload["items"]|counted(one="item", other="items") }}, '
            "{{ total }}, {{ range }}{{ dict }}"
        )
    )
    payload = {
        "customer": {"name": "A & \n B"},
        "items": ["tea", 2],
        "total": 3.0,
        "range": "wide",
    }

    assert text(mine, "order", payload) == "A & B ()\n- tea\n- 2\n2 items, 3, wide"


def test_a_template_may_include_another(folder):
    """Names that begin with an underscore are parts, not event types."""
    mine = folder(en___sign="Yours, {{ lead_name }}", en__bye='Bye.\n{% include "en/_sign.html" %}')

    assert text(mine, "bye") == "Bye.\nYours, Ann Lee"
    assert text(mine, "_sign") == "Action completed for Ann Lee."


def test_a_template_that_prints_nothing_gives_the_generic_text(folder):
    """Telegram refuses empty messages, and the user should get one."""
    mine = folder(en__quiet="{% if never %}x{% endif %} \u200b <b> </b>")

    assert text(mine, "quiet") == "Action completed for Ann Lee."


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 / 0 }}",
        "{{ payload.secret|int // 0 }}",
        '{% include "en/missing.html" %}',
        "{{ ''.__class__() }}",
        "{{ payload.update({'a': 1}) }}",
        "{{ step_id.no.such() }}",
        "{{ undefined() }}",
    ],
)
def test_a_template_that_fails_gives_the_generic_text(folder, template):
    """The user reads a message; the log names the place, without the payload."""
    mine = folder(en__broken=template)

    with capture_logs() as logs:
        shown = text(mine, "broken", {"secret": "s3cret"})

    assert shown == "Action completed for Ann Lee."
    assert [(line["event"], line["type"]) for line in logs] == [("message_failed", "broken")]
    assert "s3cret" not in str(logs)


def test_even_a_failing_generic_template_ends_in_a_message(folder):
    """There is always something to say."""
    mine = folder(en__unknown="{{ 1 / 0 }}", en__broken="{{ 1 / 0 }}")

    with capture_logs() as logs:
        shown = text(mine, "broken", lead_name="A & B")

    assert shown == "Action completed for A & B."
    assert len(logs) == 2


def test_html_that_telegram_would_refuse_is_repaired(folder):
    """A web designer's template still arrives."""
    mine = folder(en__web="<div><b>Hi <p>{{ lead_name }}</div><br>x &nbsp;&lt; <unknown a=1>")
    message = Messages(templates_dir=mine).render(event("web"), now=NOW)

    assert message.html == "<b>Hi Ann Lee\nx \xa0&lt;</b>"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"en__x": "one\n{% if %}"}, "en/x.html, line 2: Expected an expression"),
        ({"en__x": "{{ a|no_such_filter }}"}, "en/x.html, line 1: No filter named"),
        ({"en__x": b"\xff"}, "en/x.html cannot be read"),
        ({"en__words.toml": "button = "}, "words.toml cannot be read"),
        ({"en__words.toml": b"\xff"}, "words.toml cannot be read"),
        ({"en__words.toml": "button = 3"}, "button must be a text"),
        ({"english__x": "x"}, "a folder named after its locale, such as"),
    ],
)
def test_a_broken_folder_is_refused_at_start(folder, files, says):
    """With the file, the line and the reason, before the first event comes."""
    mine = folder(**files)

    with pytest.raises(BadTemplates, match=says):
        Messages(templates_dir=mine)


def test_a_template_outside_of_a_language_is_refused(tmp_path):
    """A file that would never be used is a mistake; the error says where it belongs."""
    (tmp_path / "step_due.html").write_text("x")

    with pytest.raises(BadTemplates, match=r"en/step_due\.html"):
        Messages(templates_dir=tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    """A typo in the path must not lead to the packaged texts."""
    with pytest.raises(BadTemplates, match="is not a folder"):
        Messages(templates_dir=tmp_path / "nowhere")


def test_other_files_do_not_matter(folder):
    """A README, an editor's backup and a hidden folder do no harm."""
    mine = folder(**{"en__x": "x", "en__x.html~": "{% if %}", ".git__y": "{% if %}"})
    (mine / "README.md").write_text("mine")

    assert text(mine, "x") == "x"
