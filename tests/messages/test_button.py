"""The button that opens the Mini App at the lead."""

import pytest

from realtime_bridge.messages.renderer import Button, Messages

from .events import NOW, event


def button(url, **columns):
    """The button of a message, with this MINI_APP_URL."""
    messages = Messages(mini_app_url=url)
    return messages.render(event("step_skipped", **columns), now=NOW).button


@pytest.mark.parametrize(
    ("url", "expected", "kind"),
    [
        ("https://t.me/my_bot/app", "https://t.me/my_bot/app?startapp=lead_5", "url"),
        ("https://t.me/my_bot", "https://t.me/my_bot?startapp=lead_5", "url"),
        ("https://T.me/my_bot/app", "https://T.me/my_bot/app?startapp=lead_5", "url"),
        (
            "https://telegram.me/my_bot/app?startapp=home&mode=compact",
            "https://telegram.me/my_bot/app?mode=compact&startapp=lead_5",
            "url",
        ),
        (
            "tg://resolve?domain=my_bot&appname=app",
            "tg://resolve?domain=my_bot&appname=app&startapp=lead_5",
            "url",
        ),
        ("https://app.example", "https://app.example?lead_id=5", "web_app"),
        ("https://app.example/", "https://app.example/?lead_id=5", "web_app"),
        ("https://app.example/a?x=%D0%A9", "https://app.example/a?x=%D0%A9&lead_id=5", "web_app"),
        ("https://app.example/?lead_id=1", "https://app.example/?lead_id=5", "web_app"),
        ("https://app.example/#/leads", "https://app.example/?lead_id=5#/leads", "web_app"),
        ("https://not-t.me/my_bot", "https://not-t.me/my_bot?lead_id=5", "web_app"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173?lead_id=5", "url"),
    ],
)
def test_a_button_opens_the_mini_app_at_the_lead(url, expected, kind):
    """Telegram's links carry the lead as the start parameter, other addresses in the query."""
    assert button(url) == Button("Open lead", expected, kind)


@pytest.mark.parametrize(
    ("locale", "text"), [("en", "Open lead"), ("uk-UA", "Відкрити"), ("de", "Open lead")]
)
def test_the_button_speaks_the_users_language(locale, text):
    """Its text is in the language of the message."""
    assert button("https://t.me/my_bot/app", locale=locale).text == text


def test_the_largest_lead_fits_into_telegrams_start_parameter():
    """Up to 64 characters of A-Z, a-z, 0-9, _ and -."""
    url = button("https://t.me/my_bot/app", lead_id=-(2**63)).url

    assert url == "https://t.me/my_bot/app?startapp=lead_-9223372036854775808"


def test_there_is_no_button_without_a_lead_or_an_address():
    """A button needs something to open."""
    assert button("https://t.me/my_bot/app", lead_id=None) is None
    assert button(None) is None


@pytest.mark.parametrize(
    "url", ["t.me/my_bot", "javascript:alert(1)", "https://", "ftp://x.example"]
)
def test_an_address_that_no_button_can_open_is_refused(url):
    """At start, with the name of the setting."""
    with pytest.raises(ValueError, match="MINI_APP_URL"):
        Messages(mini_app_url=url)
