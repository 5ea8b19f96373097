"""Settings: a mapping in, a frozen object or every problem at once out."""

import jwt
import pytest
from pydantic import ValidationError

from realtime_bridge.settings import ConfigurationError, Delivery, load, parse


def key(role):
    return jwt.encode({"role": role}, "s" * 32, algorithm="HS256")


GOOD = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co/",
    "SUPABASE_KEY": key("service_role"),
    "BOT_TOKEN": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
}


def problems(**values):
    with pytest.raises(ConfigurationError) as error:
        parse({**GOOD, **values})
    return error.value.problems


def test_three_values_are_enough():
    """Everything else has a default that works."""
    settings = parse(GOOD)

    assert settings.supabase_url == "https://abcdefgh.supabase.co"
    assert settings.delivery is Delivery.AT_MOST_ONCE
    assert settings.telegram_api_url == "https://api.telegram.org"


def test_all_problems_come_at_once_each_with_its_name():
    """Nobody should have to start five times to learn five things."""
    with pytest.raises(ConfigurationError) as error:
        parse({"SUPABASE_URL": "abcdefgh", "LEASE_SECONDS": "soon"})

    text = str(error.value)
    assert all(
        name in text for name in ("SUPABASE_URL", "SUPABASE_KEY", "BOT_TOKEN", "LEASE_SECONDS")
    )


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("SUPABASE_URL", "ftp://x", "https://"),
        ("SUPABASE_URL", "https://supabase.com/dashboard/project/abcd", "https://abcd.supabase.co"),
        ("SUPABASE_KEY", key("anon"), "service_role"),
        ("SUPABASE_KEY", "sb_publishable_abc", "service_role"),
        ("SUPABASE_KEY", "hunter2", "service_role"),
        ("BOT_TOKEN", "abc", "BotFather"),
        ("LEASE_SECONDS", "30", "SEND_TIMEOUT"),
        ("FALLBACK_POLL_INTERVAL", "31", "SWEEP_INTERVAL"),
        ("TELEGRAM_RATE", "100", "ALLOW_PAID_BROADCAST"),
        ("TEMPLATES_DIR", "/no/such/folder", "folder"),
        ("DOORBELL", "loud", "both"),
        ("HTTP_PORT", "99999", "65535"),
        ("PLANNER", "planner", "PLANNER"),
    ],
)
def test_a_bad_value_is_named_with_its_fix(name, value, hint):
    """One sentence names the setting and a right value."""
    (problem,) = problems(**{name: value})

    assert name in problem
    assert hint in problem


def test_no_problem_and_no_repr_shows_a_secret():
    """Secrets stay out of error texts and of everything printed."""
    anon = key("anon")

    assert anon not in str(problems(SUPABASE_KEY=anon, BOT_TOKEN="hunter2"))
    assert "hunter2" not in str(problems(SUPABASE_KEY=anon, BOT_TOKEN="hunter2"))
    settings = parse(GOOD)
    assert GOOD["BOT_TOKEN"] not in f"{settings!r} {settings}"
    assert GOOD["SUPABASE_KEY"] not in f"{settings!r} {settings}"


def test_a_secret_may_come_from_a_file(tmp_path):
    """NAME_FILE is how Docker and Kubernetes hand secrets over."""
    file = tmp_path / "token"
    file.write_text(GOOD["BOT_TOKEN"] + "\n")
    values = {**GOOD, "BOT_TOKEN_FILE": str(file)}
    del values["BOT_TOKEN"]

    assert parse(values).bot_token.get_secret_value() == GOOD["BOT_TOKEN"]


def test_a_secret_file_that_is_not_there_is_named(tmp_path):
    """The path is shown; it is no secret."""
    values = {**GOOD, "BOT_TOKEN": "", "BOT_TOKEN_FILE": str(tmp_path / "gone")}

    with pytest.raises(ConfigurationError, match="BOT_TOKEN_FILE cannot be read"):
        parse(values)


def test_empty_values_count_as_absent():
    """`.env` files are full of NAME= lines."""
    assert parse({**GOOD, "MINI_APP_URL": "  ", "LEASE_SECONDS": ""}).lease_seconds == 120


@pytest.mark.parametrize(
    "url",
    ["https://t.me/my_bot/app", "https://app.example/?a=1#/leads", "tg://resolve?domain=my_bot"],
)
def test_a_mini_app_may_have_any_address_that_a_button_can_open(url):
    """It is kept unchanged: fragments and trailing slashes have a meaning."""
    assert parse({**GOOD, "MINI_APP_URL": url}).mini_app_url == url


def test_settings_cannot_be_changed():
    """Nobody turns a knob while the bridge runs."""
    with pytest.raises(ValidationError):
        parse(GOOD).concurrency = 3


def test_the_environment_wins_over_the_file(tmp_path):
    """As everywhere: a variable that is set overrides the file."""
    file = tmp_path / "env"
    file.write_text("\n".join(f"{name}={value}" for name, value in GOOD.items()))

    settings = load(environ={"LEASE_SECONDS": "300"}, env_file=file)

    assert settings.lease_seconds == 300
    assert settings.bot_token.get_secret_value() == GOOD["BOT_TOKEN"]


def test_an_env_file_that_is_not_there_is_an_error(tmp_path):
    """A file that was asked for by name must exist."""
    with pytest.raises(ConfigurationError, match="no env file"):
        load(environ=GOOD, env_file=tmp_path / "gone")


@pytest.mark.parametrize(
    ("role", "shown"), [("tma_bridge", key("anon")), ("service_role", key("service_role"))]
)
def test_the_gateway_is_shown_a_key_that_it_knows(role, shown):
    """Supabase's gateway refuses JWTs that it did not issue, so ours goes behind the anon key."""
    settings = parse({**GOOD, "SUPABASE_KEY": key(role), "SUPABASE_ANON_KEY": key("anon")})

    assert settings.key.gateway == shown


def test_without_an_anon_key_the_key_itself_is_shown():
    """For a stack without a gateway."""
    assert parse({**GOOD, "SUPABASE_KEY": key("tma_bridge")}).key.gateway == key("tma_bridge")


def test_the_anon_key_is_not_the_other_one():
    """A service key in its place would be shown to whoever reads the gateway's logs."""
    (problem,) = problems(SUPABASE_ANON_KEY=key("service_role"))

    assert problem.startswith("SUPABASE_ANON_KEY")
