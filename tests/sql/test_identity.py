"""tma_user_id: who asks, by Telegram's signature or a JWT, and nobody otherwise. It never fails."""

import json
import random
import string
from collections.abc import Callable, Iterator
from itertools import chain
from urllib.parse import parse_qsl, quote

import psycopg
import pytest
from aiogram.utils.web_app import safe_parse_webapp_init_data

from tests.sql.signing import (
    BOT,
    TOKEN,
    USER,
    encoded,
    fields,
    init_data,
    signed,
    web_app_key,
)
from tests.sql.support import Connection, Worker
from tma_sandbox.initdata import sign

OTHER_TOKEN = "7000000002:AAanother-token-of-a-bot-that-does-not-exist"
DAY = 86400


def ask(connection: Connection, header: str | None, claims: object = None) -> int | None:
    """The user that this request proves."""
    headers = {"host": "localhost"} | ({} if header is None else {"x-telegram-init-data": header})
    connection.execute(
        "select set_config('request.headers', %s, false),"
        " set_config('request.jwt.claims', %s, false)",
        [json.dumps(headers), json.dumps(claims) if claims is not None else ""],
    )
    row = connection.execute("select tma_user_id() as id").fetchone()
    assert row
    user: int | None = row["id"]
    return user


# Accepted


@pytest.mark.parametrize(
    "name",
    [
        "Ann",
        "Андрій",
        "🦊 😀",
        'O\'Neil "q" «»',
        "a+b & c=d",
        "100% %41 %zz",
        "\\ \\u0041 \\n",
        "line\nbreak\ttab",
        "中文 العربية",
        "",
        "x" * 1000,
    ],
)
def test_accepts_what_telegram_signs(anon: Connection, name: str) -> None:
    """Whatever a user is called, and both ways in which JSON may write it."""
    user = USER | {"first_name": name}

    plain = ask(anon, init_data(user))
    escaped = ask(anon, init_data(json.dumps(user, ensure_ascii=True)))

    assert (plain, escaped) == (USER["id"], USER["id"])


def test_what_it_accepts_aiogram_accepts(anon: Connection) -> None:
    """Both read the same user out of the same header."""
    header = init_data()

    theirs = safe_parse_webapp_init_data(TOKEN, header).user

    assert theirs
    assert ask(anon, header) == theirs.id


def test_accepts_the_signatures_of_the_embedded_stack(anon: Connection) -> None:
    """The package's own signer, with every character percent-encoded that may be."""
    assert ask(anon, sign(fields(), TOKEN)) == USER["id"]


@pytest.mark.parametrize(
    "encode",
    [
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="!'()*,/:;?@$[]"),
        lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
        lambda value: quote(value, safe='"{}\\<>|^`').replace("%20", "+"),
    ],
)
def test_accepts_every_way_of_percent_encoding(
    anon: Connection, encode: Callable[[str], str]
) -> None:
    """The signature is of the decoded text, so it does not matter how it was encoded."""
    values = signed(fields())

    assert ask(anon, "&".join(f"{n}={encode(v)}" for n, v in values.items())) == USER["id"]


def test_accepts_fields_in_any_order_and_of_any_kind(anon: Connection) -> None:
    """Telegram adds fields over time; all of them are signed."""
    values = signed(
        fields(chat_type="sender", chat_instance="-37", start_param="lead_7", can_send_after="10")
    )

    assert ask(anon, encoded(dict(reversed(values.items())))) == USER["id"]


def test_accepts_the_largest_id(anon: Connection) -> None:
    """As large as the column."""
    assert ask(anon, init_data({"id": 2**63 - 1})) == 2**63 - 1


def test_several_bots(anon: Connection, worker: Worker) -> None:
    """The users of every registered bot are known."""
    worker.call("register_tma_bot", 7000000002, web_app_key(OTHER_TOKEN))

    assert ask(anon, init_data()) == USER["id"]
    assert ask(anon, init_data(token=OTHER_TOKEN)) == USER["id"]


# Refused


def test_refuses_another_bots_signature(anon: Connection) -> None:
    """Anybody can make a bot of his own and sign with it."""
    assert ask(anon, init_data(token=OTHER_TOKEN)) is None


def test_refuses_the_old_token_of_a_bot(anon: Connection, worker: Worker) -> None:
    """A token that was revoked signs nothing any more once the bot is registered again."""
    worker.call("register_tma_bot", BOT, web_app_key(OTHER_TOKEN))

    assert ask(anon, init_data()) is None
    assert ask(anon, init_data(token=OTHER_TOKEN)) == USER["id"]


@pytest.mark.parametrize(
    ("age", "accepted"), [(DAY - 60, True), (DAY + 60, False), (-30, True), (-300, False)]
)
def test_refuses_what_is_too_old_or_of_the_future(
    anon: Connection, age: float, *, accepted: bool
) -> None:
    """A day by default, and a minute of clocks that disagree."""
    assert (ask(anon, init_data(age=age)) is not None) == accepted


def test_the_age_is_a_setting(anon: Connection, database: Connection) -> None:
    """Shorter is better, and in force at once."""
    database.execute("update bridge.settings set auth_max_age = '1 hour'")

    assert ask(anon, init_data(age=3500)) == USER["id"]
    assert ask(anon, init_data(age=3700)) is None


@pytest.mark.parametrize(
    "user",
    [
        {"id": 0},
        {"id": -1},
        {"id": 2**63},
        {"id": 1e300},
        {"id": 1.5},
        {"id": "twelve"},
        {"id": None},
        {"id": True},
        {"id": [1]},
        {"id": {"id": 1}},
        {},
        "",
        "null",
        "7",
        "[]",
        "[7]",
        "not json",
        '{"id": 1',
        '{"id": NaN}',
        '{"id": 1, "first_name": "\\u0000"}',
        '{"id": 1, "first_name": "\\ud800"}',
    ],
)
def test_a_signed_user_without_an_id_is_nobody(anon: Connection, user: object) -> None:
    """Even Telegram's signature under nonsense raises nothing."""
    assert ask(anon, init_data(user)) is None


@pytest.mark.parametrize("auth_date", ["", "now", "1e9", "-1", "9" * 30, "1.5", "0x10"])
def test_a_signed_time_that_is_none_is_refused(anon: Connection, auth_date: str) -> None:
    """Without a readable time the header could be of any age."""
    assert ask(anon, encoded(signed(fields() | {"auth_date": auth_date}))) is None


@pytest.mark.parametrize("missing", ["hash", "auth_date", "user"])
def test_a_missing_field_is_refused(anon: Connection, missing: str) -> None:
    """Signed or not, these three must be there."""
    values = fields()
    values.pop(missing, None)
    values = signed(values)
    if missing == "hash":
        values.pop("hash")

    assert ask(anon, encoded(values)) is None


def test_a_signed_text_is_read_in_one_way(anon: Connection) -> None:
    """Fields cannot be hidden in, or made of, another field's value."""
    values = signed(fields())
    hidden = {
        "auth_date": values["auth_date"],
        "query_id": f"{values['query_id']}\nsignature={values['signature']}",
        "user": values["user"],
        "hash": values["hash"],
    }
    assert sorted(hidden) != sorted(values)

    assert ask(anon, encoded(hidden)) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "&",
        "=",
        "hash",
        "hash=",
        "&&&===",
        "%",
        "%%%",
        "%00",
        "user=%00",
        "user=%ff%fe",
        "user=%c3",
        "user=%ed%a0%80",
        "user=\u0000",
        "user=Ann\u2028",
        "é",
        "hash=" + "0" * 64,
        "a=1&hash=" + "g" * 64,
        "a" * 100_000,
        "a=1&" * 25_000,
        "%41" * 33_000,
    ],
)
def test_garbage_is_nobody(anon: Connection, header: str) -> None:
    """Malformed input of any kind gives null, never an error."""
    assert ask(anon, header) is None


def test_a_header_of_100_kb_is_refused_even_if_signed(anon: Connection) -> None:
    """Telegram's are small; nobody makes us hash megabytes."""
    assert ask(anon, init_data(query="x" * 100_000)) is None


@pytest.mark.parametrize(
    "headers", ["", "null", "[]", "7", '"x"', "{", "{}", '{"x-telegram-init-data": 7}']
)
def test_headers_that_are_none_are_nobody(anon: Connection, headers: str) -> None:
    """Whatever stands where PostgREST puts the headers."""
    anon.execute("select set_config('request.headers', %s, false)", [headers])

    assert anon.execute("select tma_user_id() as id").fetchone() == {"id": None}


def test_outside_of_a_request_there_is_nobody(anon: Connection) -> None:
    """In the SQL editor, in a cron job."""
    assert anon.execute("select tma_user_id() as id").fetchone() == {"id": None}


def test_a_corpus_of_mutations_is_refused(anon: Connection) -> None:
    """Whatever is changed in a valid header, it is not valid any more."""
    corpus = sorted(set(mutations(random.Random(7))))

    accepted = [header for header in corpus if ask(anon, header) is not None]

    assert len(corpus) >= 1000
    assert accepted == []


def mutations(rand: random.Random) -> Iterator[str]:
    """Headers that differ from a valid one in what they say, not only in how it is encoded."""
    values = signed(fields())
    header = encoded(values)
    meaning = sorted(parse_qsl(header, keep_blank_values=True))
    for candidate in chain(
        changed_characters(header, rand), changed_fields(values), changed_whole(values)
    ):
        if sorted(parse_qsl(candidate, keep_blank_values=True)) != meaning:
            yield candidate


def changed_characters(header: str, rand: random.Random) -> Iterator[str]:
    """One character replaced, taken out or put in at every place; the header cut."""
    printable = string.ascii_letters + string.digits + '%&=+-_.~{}":\\/ '
    for at in range(len(header)):
        yield header[:at] + rand.choice(printable) + header[at + 1 :]
        yield header[:at] + header[at + 1 :]
        yield header[:at] + rand.choice(printable) + header[at:]
        yield header[:at]


def changed_fields(values: dict[str, str]) -> Iterator[str]:
    """Each field left out, emptied, renamed, doubled, or swapped with another."""
    header = encoded(values)
    for name, value in values.items():
        rest = encoded({n: v for n, v in values.items() if n != name})
        yield rest
        yield f"{rest}&{name}="
        yield f"{rest}&{encoded({name.upper(): value})}"
        for twin in (value, "1"):
            yield f"{header}&{encoded({name: twin})}"
            yield f"{encoded({name: twin})}&{header}"
        for other, others in values.items():
            yield encoded(values | {name: others, other: value})


def changed_whole(values: dict[str, str]) -> Iterator[str]:
    """Other users, times, hashes, signers and separators."""
    for user_id in (1, USER["id"] + 1, 0, -1, 2**63, "99281932"):
        yield encoded(values | {"user": json.dumps(USER | {"id": user_id})})
    for seconds in (60, 3600, -60):
        yield encoded(values | {"auth_date": str(int(values["auth_date"]) + seconds)})
    digest = values["hash"]
    for wrong in ("", "0" * 64, digest.upper(), digest[:-1], digest * 2, f" {digest}"):
        yield encoded(values | {"hash": wrong})
    yield encoded(signed(fields(), OTHER_TOKEN))
    yield encoded(signed(fields(), ""))
    yield encoded(signed(values))
    header = encoded(values)
    yield from (f"{header}&extra=1", f"?{header}", f"{header}\n", f" {header}", quote(header))
    for separator in (";", "&amp;", "%26"):
        yield header.replace("&", separator)
    yield header.replace("=", "%3D")


# JWT


def claims(telegram_id: object) -> object:
    """A JWT's claims with this id in its app_metadata."""
    return {"role": "authenticated", "app_metadata": {"telegram_id": telegram_id}}


@pytest.mark.parametrize("telegram_id", [99281932, "99281932"])
def test_a_jwt_proves_its_user(anon: Connection, telegram_id: object) -> None:
    """Who signs users in by Supabase Auth puts the id into app_metadata."""
    assert ask(anon, None, claims(telegram_id)) == 99281932


@pytest.mark.parametrize(
    "telegram_id", [None, 0, -5, 1.5, True, "x", "1 or 1=1", [1], {}, 2**63, ""]
)
def test_a_jwt_without_a_usable_id_is_nobody(anon: Connection, telegram_id: object) -> None:
    """And no error."""
    assert ask(anon, None, claims(telegram_id)) is None


@pytest.mark.parametrize(
    "payload",
    [
        {"role": "anon", "telegram_id": 5},
        {"user_metadata": {"telegram_id": 5}},
        {"app_metadata": 5},
        [],
        "x",
    ],
)
def test_only_app_metadata_counts(anon: Connection, payload: object) -> None:
    """The user can write the rest of it himself."""
    assert ask(anon, None, payload) is None


def test_the_signature_goes_before_the_jwt(anon: Connection) -> None:
    """Both are proofs; the one of this very Mini App wins, and a bad one spoils nothing."""
    assert ask(anon, init_data(), claims(5)) == USER["id"]
    assert ask(anon, "garbage", claims(5)) == 5


# Registering


@pytest.mark.parametrize(
    ("bot_id", "key"),
    [(0, "ab" * 32), (None, "ab" * 32), (1, None), (1, ""), (1, "ab" * 31), (1, "zz" * 32)],
)
def test_refuses_to_register_nonsense(worker: Worker, bot_id: int | None, key: str | None) -> None:
    """A bot token passed by mistake is not taken for a key, and not repeated in the error."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        worker.call("register_tma_bot", bot_id, key)

    assert "64 hex digits" in str(caught.value)


def test_the_key_is_not_stored(database: Connection, worker: Worker) -> None:
    """Only the two blocks that verifying needs are kept."""
    worker.call("register_tma_bot", BOT, web_app_key())

    stored = database.execute("select k::text as row from bridge.bot_keys k").fetchall()

    assert len(stored) == 1
    assert web_app_key() not in str(stored)
    assert TOKEN not in str(stored)
