"""No piece of a secret gets out, however it is written and wherever it was cut."""

import base64
import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.credentials.redaction import PIECE, Redactor

JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIiwicmVmIjoiYWJjIn0"
    ".Zq3vX8kLm2PwRtYu5sBn9cDfGhJ1oQe-W_7zAx4iVtM"
)
SECRETS = {
    "jwt": JWT,
    "sb": "sb_secret_Zq3vX8kLm2PwRtYu5sBn9c_DfGhJ1oQ",
    "token": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
    "derived": "4c2a5f0b9d8e7361" * 4,
}
REDACT = Redactor(
    SECRETS.values(), ["https://abc.supabase.co", "http://kong:8000", "http://[::1]:1"]
)


def every_byte_escaped(text):
    return "".join(f"%{ord(letter):02x}" for letter in text)


FORMS = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, small": lambda text: quote(text, safe="").lower(),
    "percent, twice": lambda text: quote(quote_plus(text), safe=""),
    "percent, all": every_byte_escaped,
    "json": lambda text: json.dumps(text)[1:-1].replace(".", "\\u002e").replace(":", "\\u003A"),
    "json in json": lambda text: json.dumps(json.dumps(text.replace("_", "\\u005f"))),
    "slashed": lambda text: text.replace("-", "\\-").replace(".", "\\."),
    "html": lambda text: escape(text).replace(":", "&#58;").replace("_", "&#x5f;"),
    "upper": str.upper,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, basic": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "base64, header": lambda text: base64.urlsafe_b64encode(f"Bearer {text}".encode()).decode(),
}


def telling(name):
    """The part of a secret that nobody else knows."""
    secret = SECRETS[name]
    return secret[secret.index(":") + 1 :] if name == "token" else secret.removeprefix("sb_secret_")


def decoded(text):
    """Everything that a reader could make of what is left, in one text."""
    tries = [text, text.replace("\\", "")]
    for at in range(4):
        for table in (b"", b"-_"):
            piece = text[at:].split("[secret]")[0].strip()
            padded = piece[: len(piece) // 4 * 4]
            try:
                raw = base64.b64decode(padded, altchars=table or None)
            except ValueError:
                continue
            tries.append(raw.decode(errors="replace"))
    return "\n".join(tries).lower()


def pieces(text, length):
    return {text[at : at + length].lower() for at in range(len(text) - length + 1)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_any_form_cut_anywhere_is_hidden(name, form):
    """From the first characters on, and to the last."""
    written = FORMS[form](SECRETS[name])
    tell = telling(name)
    long = 3 * PIECE + 8  # of a form that writes a character as three or four
    plain, formed, clear = pieces(tell, PIECE), pieces(FORMS[form](tell), long), {*pieces(tell, 10)}

    for at in range(len(written) + 1):
        for cut in (written[:at], written[at:]):
            for told in {REDACT(f"x {cut} y"), REDACT.public(f'"{cut}')}:
                assert plain.isdisjoint(pieces(told, PIECE))
                assert formed.isdisjoint(pieces(told, long))
                if form.startswith("base64"):
                    assert clear.isdisjoint(pieces(decoded(told.strip('xy "')), 10))


@given(st.text(), st.integers(0, 200), st.sampled_from(sorted(SECRETS)), st.text())
def test_what_stands_around_a_secret_does_not_save_it(before, at, name, after):
    """Whatever it is."""
    tell = telling(name)
    left = REDACT(before + tell[at % len(tell) :] + after).lower()

    around = (before + "|" + after).lower()
    for piece in pieces(tell, PIECE + 1):
        assert piece not in left or piece in around


@given(st.text())
def test_what_is_no_secret_stays_as_it_is(text):
    """Redaction is no shredder."""
    assert Redactor(SECRETS.values())(text) == text or "://" in text


@pytest.mark.parametrize(
    "text",
    [
        "started bot_id=123456789 delivery=at_most_once",
        "Set SUPABASE_KEY to an sb_secret_ key or the service_role key",
        '{"event": "delivered", "id": 7, "timestamp": "2026-11-24T19:07:35.123456Z"}',
        "100%25 of a\\nb &#58; %zz \\x4",
        'WWW-Authenticate: Bearer realm="x"',
    ],
)
def test_what_operators_need_is_shown(text):
    """A bot's id is no secret, and our own hints name the kinds of keys."""
    assert REDACT(text) == text


def test_what_looks_like_a_secret_is_hidden_though_nobody_configured_it():
    """Somebody else's is a secret too."""
    strangers = [
        "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.abc",
        "sb_secret_other",
        "987654321:BBHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
    ]
    for stranger in strangers:
        assert Redactor()(f"a {stranger} b") == "a [secret] b"
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert Redactor()(f"{scheme} 0123456789abcdefgh") == f"{scheme} [secret]"
    assert Redactor()("http://me:pass@proxy:3128/x") == "http://[secret]@proxy:3128/x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GET https://abc.supabase.co/rest/v1/rpc/f?x=1 failed", "GET [address] failed"),
        ("Cannot connect to host abc.supabase.co:443 ssl:default", None),
        ("ABC.supabase.CO is away", "[address] is away"),
        ("wss://user@abc.supabase.co:443/x", "[address]"),
        ("http://kong:8000/auth and kong:8000", "[address] and [address]"),
        ("King Kong is no address", "King Kong is no address"),
        ("http://[::1]:1/x", "[address]"),
        ("https://xabc.supabase.co.evil/ stays", "https://xabc.supabase.co.evil/ stays"),
        ("https://app.example/ stays", "https://app.example/ stays"),
    ],
)
def test_users_are_not_told_where_our_servers_are(text, told):
    """Operators are."""
    expected = told or "Cannot connect to host [address] ssl:default"

    assert REDACT.public(text) == expected
    assert REDACT(text) == text or "user@" in text


def test_what_is_cut_is_redacted_first():
    """A secret that would be cut in half is hidden as a whole."""
    for room in range(40):
        line = REDACT.line("x" * room + " " + SECRETS["derived"], room + 7)
        assert "4c2a" not in line
        assert len(line) <= room + 7


def test_a_line_is_one_line_that_anything_can_print():
    """Nobody else writes to our terminal, and the database takes it."""
    line = REDACT.line("a\x1b]0;b\x07\r\nc\x00\ud800d\u2028e")

    assert line == "a ]0;b c ?d e"
    said = []
    REDACT.before(said.append)(f"x\ud800 {JWT}")
    assert said == ["x? [secret]"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part", ["eyJ", "1", "%25", "a:", "://@", "\\", "&#0", "Bearer ", "eyJaaaaaaaaaa."]
)
def test_no_text_takes_long(part):
    """Whoever writes it."""
    REDACT.public(part * (200_000 // len(part)))
