"""Configuration: a mapping of names goes in, a frozen object or every error at once comes out."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from realtime_bridge.credentials import Key, Redactor, claims_of, is_cut_short, web_app_key

# What is read again while the bridge runs.
KEYS = ("SUPABASE_KEY", "SUPABASE_ANON_KEY")
TELEGRAM = "https://api.telegram.org"
PLANNER_OFF = "off"

_OBJECT = re.compile(r"[\w.]+:[\w.]+")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_KEY = re.compile(r"[A-Za-z0-9._=-]+")
_LONGEST_SECRET = 65_536


class Delivery(StrEnum):
    """What happens to a message that may or may not have been sent."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"


class ConfigurationError(Exception):
    """The configuration cannot work; `problems` says what is wrong and how to mend it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://abcdefgh.supabase.co")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain address without user, password, query or fragment")
    return value.rstrip("/")


def opens_mini_app(url: str) -> bool:
    """Whether a button can open this address: a page's, or a link to Telegram itself."""
    parts = urlsplit(url)
    return parts.scheme in {"https", "http", "tg"} and bool(parts.netloc)


def _mini_app_url(value: str) -> str:
    if not opens_mini_app(value):
        raise ValueError("must be an address such as https://t.me/my_bot/app")
    return value


def _supabase_url(value: str) -> str:
    url = _base_url(value)
    if "/dashboard" in url:
        ref = url.rsplit("/", 1)[-1]
        raise ValueError(f"is the dashboard's address; use https://{ref}.supabase.co")
    return re.sub(r"/(rest|realtime|auth)/v1.*$", "", url)


def _service_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value().strip()
    where = "use the service_role or sb_secret_ key (dashboard: Project Settings > API Keys)"
    _must_be_whole(key)
    if key.startswith("sb_publishable_"):
        raise ValueError(f"is the publishable key, which is for browsers; {where}")
    claims = claims_of(key)
    if claims is None:
        if key.startswith("sb_secret_"):
            return SecretStr(key)
        raise ValueError(f"is neither a JWT nor an sb_secret_ key; {where}")
    if claims.get("role") in {"anon", "authenticated"}:
        raise ValueError(f"is the {claims['role']} key, which is for browsers; {where}")
    return SecretStr(key)


def _must_be_whole(key: str) -> None:
    """Two lines, or a file that is still being written."""
    if not _KEY.fullmatch(key):
        raise ValueError("has characters that no key has: it must be one key on one line")
    if is_cut_short(key):
        raise ValueError("is a JWT that is not whole: its end is missing")


def _public_key(key: str) -> str:
    _must_be_whole(key)
    if not key.startswith("sb_publishable_") and (claims_of(key) or {}).get("role") != "anon":
        raise ValueError("is neither the publishable nor the anon key")
    return key


def _bot_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    if not re.fullmatch(r"\d{3,20}:[A-Za-z0-9_-]{20,100}", token):
        raise ValueError("is not a bot token; BotFather gives one like 123456789:AA...")
    return SecretStr(token)


def _directory(value: Path) -> Path:
    if not value.is_dir():
        raise ValueError(f"is not a folder: {value}")
    return value


def _file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"is not a file: {value}")
    return value


def _planner(value: str) -> str:
    if value != PLANNER_OFF and not _OBJECT.fullmatch(value):
        raise ValueError(f"must be module:object, such as my_app.plans:make_plan, or {PLANNER_OFF}")
    return value


def _objects(value: str) -> str:
    if not all(_OBJECT.fullmatch(name.strip()) for name in value.split(",")):
        raise ValueError("must be module:object, or several of them, separated by commas")
    return value


def _time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("must be a time of day from 00:00 to 23:59")
    return value


@dataclass(frozen=True, slots=True)
class Home:
    """Where a setting is kept, which is how a running bridge gets another value of it."""

    name: str
    file: Path | None = None  # named by NAME_FILE
    env_file: Path | None = None

    def __str__(self) -> str:
        if self.file:
            return f"{self.file} ({self.name}_FILE)"
        return str(self.env_file or "the environment")

    @property
    def renewal(self) -> str:
        """What a person does who has another value."""
        if self.file:
            return f"write the new one to {self.file}; no restart"
        if self.env_file:
            return (
                f"put the new one into {self.env_file} and send SIGHUP (kill -HUP, systemctl "
                "reload); no restart"
            )
        return (
            f"a running process keeps its environment: restart with the new one, or keep it in a "
            f"file that {self.name}_FILE names"
        )


@dataclass(frozen=True)
class Source:
    """Where settings come from: the environment and, below it, an env file."""

    environ: Mapping[str, str | None]
    env_file: Path | None = None
    must_exist: bool = False

    def read(self) -> dict[str, str | None]:
        """Collect what is set now, by name. Raises ConfigurationError: there is no such file."""
        if self.must_exist and self.env_file and not self.env_file.is_file():
            raise ConfigurationError([f"there is no env file {self.env_file}"])
        try:
            from_file = dotenv_values(self.env_file) if self.env_file else {}
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"the env file {self.env_file} cannot be read"]) from error
        return {**from_file, **self.environ}

    def home(self, name: str, values: Mapping[str, str | None]) -> Home:
        """Where a setting is kept, given what `read` collected."""
        if _is_set(self.environ.get(name)):
            return Home(name)
        if _is_set(values.get(name)):
            return Home(name, env_file=self.env_file)
        path = values.get(f"{name}_FILE")
        return Home(name, file=Path(path.strip()) if path and path.strip() else None)


Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """Everything that can be configured, under its environment variable's name.

    Each secret may come from a file instead: `BOT_TOKEN_FILE=/run/secrets/bot_token`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    _proxies: tuple[str, ...] = PrivateAttr(())
    _source: Source | None = PrivateAttr(None)  # None: from a program
    _known: dict[str, str] = PrivateAttr(default_factory=dict)
    _homes: dict[str, Home] = PrivateAttr(default_factory=dict)

    supabase_url: Annotated[str, AfterValidator(_supabase_url)] = Field(
        alias="SUPABASE_URL",
        description="The project's address, such as https://abcdefgh.supabase.co.",
    )
    supabase_key: Annotated[SecretStr, AfterValidator(_service_key)] = Field(
        alias="SUPABASE_KEY",
        description="A key that may call the bridge's functions: a tma_bridge JWT (least rights), "
        "an sb_secret_ key, or the service_role key. Never the anon key. Read again while the "
        "bridge runs: when the file of SUPABASE_KEY_FILE changes, and from .env at SIGHUP.",
    )
    supabase_anon_key: Annotated[str, AfterValidator(_public_key)] | None = Field(
        None,
        alias="SUPABASE_ANON_KEY",
        description="The project's publishable or anon key. Needed when SUPABASE_KEY is a "
        "tma_bridge JWT: Supabase's gateway lets in its own keys only, the JWT goes behind it.",
    )
    bot_token: Annotated[SecretStr, AfterValidator(_bot_token)] = Field(
        alias="BOT_TOKEN", description="The bot's token, from BotFather."
    )
    telegram_api_url: Annotated[str, AfterValidator(_base_url)] = Field(
        TELEGRAM,
        alias="TELEGRAM_API_URL",
        description="Where the Bot API answers; change it for a local Bot API server.",
    )
    delivery: Delivery = Field(
        Delivery.AT_MOST_ONCE,
        alias="DELIVERY",
        description="What to do when a message may have been sent but nobody can know: "
        "at_most_once reports it as failed/uncertain, at_least_once sends it again.",
    )
    doorbell: Literal["both", "changes", "broadcast"] = Field(
        "both",
        alias="DOORBELL",
        description="Which Realtime notices ring: both, changes (Postgres Changes) or broadcast "
        "(Broadcast from the database).",
    )
    sweep_interval: Seconds = Field(
        30.0,
        alias="SWEEP_INTERVAL",
        description="Seconds between sweeps while the doorbell works.",
    )
    fallback_poll_interval: Seconds = Field(
        3.0,
        alias="FALLBACK_POLL_INTERVAL",
        description="Seconds between sweeps while the doorbell does not work.",
    )
    lease_seconds: Seconds = Field(
        120.0,
        alias="LEASE_SECONDS",
        description="How long a claimed row belongs to one worker before the sweep takes it back.",
    )
    send_timeout: Seconds = Field(
        20.0,
        alias="SEND_TIMEOUT",
        description="Seconds to wait for Telegram's answer before the outcome is uncertain.",
    )
    concurrency: int = Field(
        64, ge=1, le=1000, alias="CONCURRENCY", description="Messages in hand at one time."
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        alias="MAX_ATTEMPTS",
        description="Attempts before an event ends as failed/exhausted. Pauses that Telegram "
        "asks for are not counted.",
    )
    telegram_rate: float = Field(
        30.0,
        gt=0,
        le=1000,
        alias="TELEGRAM_RATE",
        description="Messages per second for the whole bot (Telegram: about 30).",
    )
    telegram_chat_rate: float = Field(
        1.0,
        gt=0,
        le=100,
        alias="TELEGRAM_CHAT_RATE",
        description="Messages per second to one private chat (Telegram: 1).",
    )
    telegram_chat_burst: int = Field(
        3,
        ge=1,
        le=20,
        alias="TELEGRAM_CHAT_BURST",
        description="Messages that may go to one private chat at once before its rate applies.",
    )
    telegram_group_rate: float = Field(
        20.0,
        gt=0,
        le=1000,
        alias="TELEGRAM_GROUP_RATE",
        description="Messages per minute to one group (Telegram: 20).",
    )
    allow_paid_broadcast: bool = Field(
        False,
        alias="ALLOW_PAID_BROADCAST",
        description="Send as paid broadcast: above 30 messages/s at 0.1 Star each. Set "
        "TELEGRAM_RATE as well (up to 1000).",
    )
    templates_dir: Annotated[Path, AfterValidator(_directory)] | None = Field(
        None,
        alias="TEMPLATES_DIR",
        description="A folder of your own message templates: <locale>/<event_type>.html.",
    )
    default_locale: str = Field(
        "en",
        pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z]{2,4})?$",
        alias="DEFAULT_LOCALE",
        description="Language of messages to users whose own is unknown.",
    )
    mini_app_url: Annotated[str, AfterValidator(_mini_app_url)] | None = Field(
        None,
        alias="MINI_APP_URL",
        description="Adds a button that opens the Mini App at the lead, such as "
        "https://t.me/my_bot/app.",
    )
    retention_days: int = Field(
        30,
        ge=0,
        alias="RETENTION_DAYS",
        description="Days that delivered and failed rows are kept; 0 keeps them for ever.",
    )
    planner: Annotated[str, AfterValidator(_planner)] | None = Field(
        None,
        alias="PLANNER",
        description="Your planner for plan_requests, as module:object; without it plans come "
        "from the playbook. off: plan_requests are not answered here.",
    )
    playbook: Annotated[Path, AfterValidator(_file)] | None = Field(
        None,
        alias="PLAYBOOK",
        description="A TOML file of plans by lead status, in place of the packaged one.",
    )
    planner_timeout: Seconds = Field(
        60.0, alias="PLANNER_TIMEOUT", description="Seconds that the planner may take for a plan."
    )
    planner_concurrency: int = Field(
        8, ge=1, le=1000, alias="PLANNER_CONCURRENCY", description="Plans in work at one time."
    )
    reminder_time: Annotated[str, AfterValidator(_time_of_day)] = Field(
        "09:00",
        alias="REMINDER_TIME",
        description="When to remind of a step that is due on a day, by the user's clock.",
    )
    request_tables: Annotated[str, AfterValidator(_objects)] = Field(
        "",
        alias="REQUEST_TABLES",
        description="Your own request tables, each a RequestTable named as module:object, "
        "separated by commas.",
    )
    http_host: str = Field(
        "127.0.0.1", alias="HTTP_HOST", description="Where /livez, /readyz and /metrics listen."
    )
    http_port: int = Field(
        9464,
        ge=0,
        le=65_535,
        alias="HTTP_PORT",
        description="Port of /livez, /readyz and /metrics; 0 turns them off.",
    )
    stop_grace: Seconds = Field(
        4.0,
        alias="STOP_GRACE",
        description="Seconds that a stop waits for messages on their way before it cuts them off.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="How much to log."
    )
    log_format: Literal["console", "json"] = Field(
        "console", alias="LOG_FORMAT", description="console for a person, json for a machine."
    )

    @property
    def key(self) -> Key:
        """What Supabase is shown; its gateway SUPABASE_KEY too, unless it is a JWT of our own."""
        key = self.supabase_key.get_secret_value()
        role = (claims_of(key) or {}).get("role", "service_role")
        return Key(key, key if role == "service_role" else self.supabase_anon_key or key)

    def home(self, name: str) -> Home:
        """Where a key was kept when these settings were read."""
        return self._homes.get(name, Home(name))

    def with_keys_again(self) -> "Settings":
        """These settings with the keys as they are now. Raises ConfigurationError."""
        if self._source is None:
            return self
        values = self._source.read()
        fresh, problems = _known(values, KEYS)
        kept = {name: value for name, value in self._known.items() if name not in KEYS}
        return _build({**kept, **fresh}, problems, self._source, values)

    def changed_since(self) -> list[str]:
        """Name the settings beside the keys that are not any more what they were."""
        if self._source is None:
            return []
        others = set(_names()) - set(KEYS)
        now, _ = _known(self._source.read(), others)
        return sorted(name for name in others if now.get(name) != self._known.get(name))

    @property
    def secrets(self) -> list[str]:
        """What no output may contain: the secrets, and what is derived from them."""
        token = self.bot_token.get_secret_value()
        return [self.supabase_key.get_secret_value(), token, web_app_key(token)]

    @cached_property
    def redact(self) -> Redactor:
        """What every text passes on its way out; users are not told our addresses either."""
        return Redactor(self.secrets, [self.supabase_url, self.telegram_api_url, *self._proxies])

    @property
    def turn_limit(self) -> float:
        """Seconds a claimed row may wait for the bot's turn: part of what the lease leaves.

        More than all slots take at the usual rates, or rows would be claimed to be handed back.
        """
        return min(10.0, (self.lease_seconds - 2 * self.send_timeout) / 2)

    @model_validator(mode="after")
    def _lease_outlives_send(self) -> Self:
        if self.lease_seconds < 2 * self.send_timeout + 5:
            raise ValueError(
                "LEASE_SECONDS must be at least 2 * SEND_TIMEOUT + 5 "
                f"({2 * self.send_timeout + 5:g}), or rows that are being sent would be recovered"
            )
        if self.fallback_poll_interval > self.sweep_interval:
            raise ValueError(
                "FALLBACK_POLL_INTERVAL must not exceed SWEEP_INTERVAL: it is the sweep's pace "
                "while the doorbell is down"
            )
        if self.telegram_rate > 30 and not self.allow_paid_broadcast:  # noqa: PLR2004 - Bots FAQ
            raise ValueError(
                "TELEGRAM_RATE above 30 needs ALLOW_PAID_BROADCAST=true (0.1 Star per message), "
                "or Telegram answers 429"
            )
        return self


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Read settings from the environment and, below it, from an env file (default `./.env`).

    Raises ConfigurationError with every problem at once.
    """
    return read(source_of(environ, env_file))


def source_of(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Source:
    """The environment over an env file; one that is named must be there."""
    return Source(
        os.environ if environ is None else environ,
        env_file or Path(".env"),
        must_exist=env_file is not None,
    )


def parse(values: Mapping[str, str | None]) -> Settings:
    """Build settings from a mapping of names; empty values count as absent."""
    return read(Source(values))


def read(source: Source) -> Settings:
    """Build settings from their source. Raises ConfigurationError with every problem at once."""
    values = source.read()
    return _build(*_known(values, _names()), source, values)


def _known(
    values: Mapping[str, str | None], names: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """What is set, from files too where NAME_FILE names one, and why some of it is not."""
    known: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        value, path = values.get(name), values.get(f"{name}_FILE")
        if _is_set(value):
            known[name] = str(value).strip()
        elif _is_set(path):
            try:
                known[name] = _secret_in(Path(str(path).strip()))
            except OSError as error:
                problems.append(f"{name}_FILE cannot be read: {path} ({error.strerror})")
            except ValueError as error:
                problems.append(f"{name}_FILE {error}: {path}")
    return known, problems


def _is_set(value: str | None) -> bool:
    return bool(value and value.strip())


def _secret_in(path: Path) -> str:
    """Read a file that holds one secret. Raises OSError, and ValueError for what is none."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_SECRET)
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not secret:
        raise ValueError("is empty")
    return secret


def _build(
    known: dict[str, str],
    problems: list[str],
    source: Source,
    values: Mapping[str, str | None],
) -> Settings:
    unread = tuple(problem.partition("_FILE ")[0] for problem in problems)
    try:
        settings = Settings.model_validate(known)
    except ValidationError as error:
        explained = (
            (detail["loc"], _explain(detail)) for detail in error.errors(include_input=False)
        )
        problems = problems + [text for loc, text in explained if not (loc and loc[0] in unread)]
    if problems:
        raise ConfigurationError(problems)
    proxies = (value for name, value in values.items() if name.lower() in _PROXIES)
    settings._proxies = tuple(filter(None, proxies))  # noqa: SLF001 - it is what builds them
    settings._source, settings._known = source, known  # noqa: SLF001
    settings._homes = {name: source.home(name, values) for name in KEYS}  # noqa: SLF001
    return settings


def redactor(values: Mapping[str, str | None]) -> Redactor:
    """What hides the secrets among settings that may not be good enough to run with."""
    try:
        return parse(values).redact
    except ConfigurationError:
        return Redactor(filter(None, (values.get(name) for name in ("SUPABASE_KEY", "BOT_TOKEN"))))


def _names() -> list[str]:
    return [field.alias or name for name, field in Settings.model_fields.items()]


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    if detail["type"] == "missing":
        return f"{name} is not set: {_description(name)}"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name} {text}".strip()


def _description(name: str) -> str:
    for field in Settings.model_fields.values():
        if field.alias == name:
            return field.description or ""
    return ""
