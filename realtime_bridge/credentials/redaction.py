"""One way out for text: what is printed, logged, stored or served holds no secret of ours."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from urllib.parse import urlsplit

HIDDEN = "[secret]"
PLACE = "[address]"

PIECE = 8  # so many characters of a secret in a row tell something of it
LINE_LIMIT = 300  # characters of somebody else's text that are worth keeping
# Whatever is cut off before the secrets are looked for must be far from what is kept.
_ROOM = 65_536
# Five characters at every fourth place: of any PIECE characters at least five are among them.
_HINT = 5
_HINTS = re.compile(r"(?s)(?=(.{5})).{4}")

# The start of a secret that is not secret: a bot's id, and what all keys of the kind begin with.
_PUBLIC_START = re.compile(r"\d{1,20}:|sb_secret_")

# What a secret looks like when it is none of the configured ones: a JWT, an sb_ key, a bot token,
# a header's value, the user and password of an address. Each with what no such text is without:
# every line of the log is looked at.
_LOOKS_SECRET = (
    ("eyj", re.compile(r"eyJ[\w-]{10,500}\.[\w-]{10,2000}\.[\w-]*")),
    ("sb_secret_", re.compile(r"sb_secret_[\w-]+")),
    (":", re.compile(r"\d{5,20}:[A-Za-z0-9_-]{30,}")),
    ("bearer ", re.compile(r"(?<=bearer )[\w.~+/=-]{16,}", re.IGNORECASE)),
    ("@", re.compile(r"(?<=://)[^\s/@:'\"]{0,100}:[^\s/@'\"]{1,200}(?=@)")),
)

# A character as URLs, JSON, Python and HTML may write it, once or several times over.
_ESCAPE = re.compile(
    r"%(?:25){0,4}([0-9a-f]{2})|\\{1,8}(?:u00|x)([0-9a-f]{2})|&\#x0{0,6}([0-9a-f]{2});"
    r"|&\#0{0,6}(\d{2,3});|\\{1,8}([-/:.+=_~])",
    re.IGNORECASE,
)
_ESCAPES = frozenset("%\\&")
_HEXADECIMAL, _DECIMAL, _BACKSLASHED = (1, 2, 3), 4, 5
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_Range = tuple[int, int]


class Redactor:
    """Hides secrets in texts, however they are written and wherever they were cut.

    A secret is found as it is, in other case, percent-encoded, escaped or in base64, and so is
    every piece of PIECE characters or more. Shorter secrets cannot be told from other text, and
    are not looked for. `addresses` are URLs: users shall not read where our servers are.

    >>> redact = Redactor(["sb_secret_Zq3vX8kLm2Pw"], ["https://abc.supabase.co"])
    >>> redact("the key sb_secret_Zq3vX8k..., or %5A%713vX8kLm2P")
    'the key [secret]..., or [secret]'
    >>> redact("GET /bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1/getMe")
    'GET /bot[secret]/getMe'
    >>> redact.public("no route to abc.supabase.co:443")
    'no route to [address]'
    """

    def __init__(self, secrets: Iterable[str] = (), addresses: Iterable[str] = ()) -> None:
        self._pieces: set[str] = set()
        self._hints: set[str] = set()
        self.learn(secrets)
        hosts = {host for address in addresses if (host := urlsplit(address).hostname)}
        self._places = _places(sorted(hosts, key=len, reverse=True)) if hosts else None

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these too from now on; none is ever forgotten."""
        pieces = {piece for secret in secrets for piece in _pieces(secret)}
        self._pieces |= pieces
        self._hints |= {
            piece[at : at + _HINT] for piece in pieces for at in range(PIECE - _HINT + 1)
        }

    def __call__(self, text: str) -> str:
        """Hide the secrets in a text of any length."""
        read, offsets = _unescaped(text)
        lowered = _lowered(read)
        found = [
            match.span()
            for mark, pattern in _LOOKS_SECRET
            if mark in lowered
            for match in pattern.finditer(read)
        ]
        found += self._found(lowered)
        if not found:
            return text
        if offsets is not None:
            found = [(offsets[start], offsets[end]) for start, end in found]
        return _without(text, sorted(found))

    def line(self, text: str, limit: int = LINE_LIMIT) -> str:
        """Write somebody else's text as one short line: redacted first, and then cut."""
        redacted = self(text[: limit + _ROOM])
        return printable(_CONTROLS.sub(" ", redacted).strip()[:limit])

    def public(self, text: str, limit: int = 2 * LINE_LIMIT) -> str:
        """Write a line that users may read: without our addresses as well."""
        redacted = self(text[: limit + _ROOM])
        if self._places:
            redacted = self._places.sub(PLACE, redacted)
        return printable(_CONTROLS.sub(" ", redacted).strip()[:limit])

    def before(self, echo: Callable[[str], None]) -> Callable[[str], None]:
        """Make an `echo` that is told redacted text only, which any terminal can print."""
        return lambda text: echo(printable(self(text)))

    def _found(self, text: str) -> Iterator[_Range]:
        """Where pieces of our secrets are; most texts hold none, and that is seen fast."""
        if self._hints.isdisjoint(_HINTS.findall(text)):
            return
        for at in range(len(text) - PIECE + 1):
            if text[at : at + PIECE] in self._pieces:
                yield at, at + PIECE


def printable(text: str) -> str:
    r"""Replace what neither UTF-8 nor the database can hold.

    >>> printable("a\ud800b\x00c")
    'a?bc'
    """
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _pieces(secret: str) -> Iterator[str]:
    """Each PIECE characters of a secret that tell something, in every form it may be sent in."""
    start = _PUBLIC_START.match(secret)
    first = max((start.end() if start else 0) - PIECE + 1, 0)
    for form, begin in ((secret, first), *((form, 0) for form in _base64(secret))):
        written = _lowered(form)
        for at in range(begin, len(written) - PIECE + 1):
            yield written[at : at + PIECE]


def _base64(secret: str) -> Iterator[str]:
    """How a secret looks inside a longer text in base64, for each place where it may begin there.

    The first and the last character may hold bits of what is around it: they are left out.
    """
    raw = secret.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        whole = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield whole
        yield whole.translate(str.maketrans("+/", "-_"))


def _lowered(text: str) -> str:
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else text  # or offsets would be wrong


def _unescaped(text: str) -> tuple[str, Sequence[int] | None]:
    """Read a text as whoever decodes it; and say where each character was (None: where it is)."""
    if _ESCAPES.isdisjoint(text):  # as nearly every line of the log
        return text, None
    parts: list[str] = []
    offsets: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        parts += (text[at : match.start()], _character(match))
        offsets += range(at, match.start() + 1)
        at = match.end()
    if not parts:
        return text, None
    return "".join((*parts, text[at:])), (*offsets, *range(at, len(text) + 1))


def _character(match: re.Match[str]) -> str:
    for group in _HEXADECIMAL:
        if match[group]:
            return chr(int(match[group], 16))
    return chr(int(match[_DECIMAL])) if match[_DECIMAL] else match[_BACKSLASHED]


def _without(text: str, ranges: Sequence[_Range]) -> str:
    """Put HIDDEN in place of the ranges, which are sorted; those that touch are one."""
    merged: list[_Range] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    kept = [(0, 0), *merged, (len(text), len(text))]
    return HIDDEN.join(text[end:start] for (_, end), (start, _) in pairwise(kept))


def _places(hosts: Sequence[str]) -> re.Pattern[str]:
    """Where our hosts are named: in an address, with a port, or alone if that is no mere word."""
    named = "|".join(map(re.escape, hosts))
    alone = "|".join(re.escape(host) for host in hosts if "." in host or ":" in host) or "(?!)"
    return re.compile(
        rf"(?:[a-z][a-z0-9+.-]{{0,20}}:)?//(?:[^\s/@'\"]{{0,300}}@)?\[?(?:{named})\]?(?![\w-])"
        r"(?::\d+)?(?:[/?#][^\s'\"<>)\]]*)?"
        rf"|(?<![\w.-])\[?(?:{named})\]?:\d+|(?<![\w.-])(?:{alone})(?![\w-])",
        re.IGNORECASE,
    )
