"""Everything that can be configured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from realtime_bridge.credentials import Key, Redactor, claims_of, web_app_key
from realtime_bridge.settings import validators as valid
from realtime_bridge.settings.source import Location, Source

TELEGRAM = "https://api.telegram.org"


class Delivery(StrEnum):
    """What happens to a message that may or may not have been sent."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What settings were read from; empty for those that a program made.

    `values` are the texts that were read, `locations` says where each key is kept, `proxies` are
    the proxy addresses in the environment.
    """

    source: Source | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    locations: Mapping[str, Location] = field(default_factory=dict)
    proxies: tuple[str, ...] = ()


Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """Everything that can be configured, by the name of its environment variable.

    Each may come from a file instead: `BOT_TOKEN_FILE=/run/secrets/bot_token`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    _provenance: Provenance = PrivateAttr(Provenance())

    supabase_url: Annotated[str, AfterValidator(valid.supabase_url)] = Field(
        alias="SUPABASE_URL",
        description="The project's address, such as https://abcdefgh.supabase.co.",
    )
    supabase_key: Annotated[SecretStr, AfterValidator(valid.service_key)] = Field(
        alias="SUPABASE_KEY",
        description="A key that may call the bridge's functions: a tma_bridge JWT (least "
        "privilege), an sb_secret_ key, or the service_role key; never the anon key. A running "
        "bridge picks up a new one when the file that SUPABASE_KEY_FILE names changes, and from "
        ".env on SIGHUP.",
    )
    supabase_anon_key: Annotated[str, AfterValidator(valid.public_key)] | None = Field(
        None,
        alias="SUPABASE_ANON_KEY",
        description="The project's publishable or anon key. Needed if SUPABASE_KEY is a tma_bridge "
        "JWT, because Supabase's gateway accepts only its own keys. `check` also uses it, to try "
        "what Mini App users can do.",
    )
    bot_token: Annotated[SecretStr, AfterValidator(valid.bot_token)] = Field(
        alias="BOT_TOKEN", description="The bot's token, from BotFather."
    )
    telegram_api_url: Annotated[str, AfterValidator(valid.base_url)] = Field(
        TELEGRAM,
        alias="TELEGRAM_API_URL",
        description="Address of the Bot API; change it to use a local Bot API server.",
    )
    delivery: Delivery = Field(
        Delivery.AT_MOST_ONCE,
        alias="DELIVERY",
        description="What to do when nobody can know whether a message was sent: at_most_once "
        "marks it as failed/uncertain, at_least_once sends it again.",
    )
    doorbell: Literal["both", "changes", "broadcast"] = Field(
        "both",
        alias="DOORBELL",
        description="What to listen to on Realtime: changes (Postgres Changes), broadcast "
        "(Broadcast from the database), or both.",
    )
    sweep_interval: Seconds = Field(
        30.0,
        alias="SWEEP_INTERVAL",
        description="Seconds between sweeps while the doorbell works.",
    )
    fallback_poll_interval: Seconds = Field(
        3.0,
        alias="FALLBACK_POLL_INTERVAL",
        description="Seconds between sweeps while the doorbell is down.",
    )
    lease_seconds: Seconds = Field(
        120.0,
        alias="LEASE_SECONDS",
        description="Seconds that a claimed row is its worker's before a sweep takes it back.",
    )
    send_timeout: Seconds = Field(
        20.0,
        alias="SEND_TIMEOUT",
        description="Seconds to wait for Telegram's response before the outcome is uncertain.",
    )
    concurrency: int = Field(
        64, ge=1, le=1000, alias="CONCURRENCY", description="Messages processed at the same time."
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        alias="MAX_ATTEMPTS",
        description="Attempts before an event is failed/exhausted. Pauses that Telegram asks for "
        "do not count.",
    )
    telegram_rate: float = Field(
        30.0,
        gt=0,
        le=1000,
        alias="TELEGRAM_RATE",
        description="Messages per second for the whole bot, all replicas together (Telegram: about "
        "30). Replicas must agree on this and the next three.",
    )
    telegram_chat_rate: float = Field(
        1.0,
        gt=0,
        le=100,
        alias="TELEGRAM_CHAT_RATE",
        description="Messages per second to one private chat, all replicas together (Telegram: 1).",
    )
    telegram_chat_burst: int = Field(
        3,
        ge=1,
        le=20,
        alias="TELEGRAM_CHAT_BURST",
        description="Messages that may go to one private chat in a burst before its rate applies.",
    )
    telegram_group_rate: float = Field(
        20.0,
        gt=0,
        le=1000,
        alias="TELEGRAM_GROUP_RATE",
        description="Messages per minute to one group, all replicas together (Telegram: 20).",
    )
    allow_paid_broadcast: bool = Field(
        False,
        alias="ALLOW_PAID_BROADCAST",
        description="Send as paid broadcasts: more than 30 messages/s, for 0.1 Star each. Set "
        "TELEGRAM_RATE as well (up to 1000).",
    )
    templates_dir: Annotated[Path, AfterValidator(valid.existing_folder)] | None = Field(
        None,
        alias="TEMPLATES_DIR",
        description="Folder of your own message templates: <locale>/<event_type>.html, and "
        "events.toml.",
    )
    default_locale: str = Field(
        "en",
        pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z]{2,4})?$",
        alias="DEFAULT_LOCALE",
        description="Language of messages to users whose language is unknown.",
    )
    mini_app_url: Annotated[str, AfterValidator(valid.mini_app_url)] | None = Field(
        None,
        alias="MINI_APP_URL",
        description="Address of the Mini App, such as https://t.me/my_bot/app. Adds a button that "
        "opens it at the lead.",
    )
    retention_days: int = Field(
        30,
        ge=0,
        alias="RETENTION_DAYS",
        description="Days to keep delivered and failed rows; 0 keeps them forever.",
    )
    planner: Annotated[str, AfterValidator(valid.planner_name)] | None = Field(
        None,
        alias="PLANNER",
        description="Your planner for plan_requests, as module:object. Without one, plans come "
        "from the playbook; with off, this bridge does not answer plan_requests.",
    )
    playbook: Annotated[Path, AfterValidator(valid.existing_file)] | None = Field(
        None,
        alias="PLAYBOOK",
        description="TOML file of plans by lead status, instead of the packaged one.",
    )
    planner_timeout: Seconds = Field(
        60.0, alias="PLANNER_TIMEOUT", description="Seconds that the planner may take per plan."
    )
    planner_concurrency: int = Field(
        8, ge=1, le=1000, alias="PLANNER_CONCURRENCY", description="Plans made at the same time."
    )
    reminder_time: Annotated[str, AfterValidator(valid.time_of_day)] = Field(
        "09:00",
        alias="REMINDER_TIME",
        description="Time of day for reminders of steps that are due on a date, in the user's "
        "timezone.",
    )
    request_tables: Annotated[str, AfterValidator(valid.object_names)] = Field(
        "",
        alias="REQUEST_TABLES",
        description="Your own request tables: RequestTable objects as module:object, separated by "
        "commas.",
    )
    http_host: str = Field(
        "127.0.0.1",
        alias="HTTP_HOST",
        description="Address that serves /livez, /readyz and /metrics.",
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
        description="Seconds that a stop waits for messages being sent before it cuts them off.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="How much to log."
    )
    log_format: Literal["console", "json"] = Field(
        "console", alias="LOG_FORMAT", description="console for people, json for machines."
    )

    @property
    def key(self) -> Key:
        """What Supabase is shown; its gateway gets the anon key if SUPABASE_KEY is our own JWT."""
        key = self.supabase_key.get_secret_value()
        role = (claims_of(key) or {}).get("role", "service_role")
        return Key(key, key if role == "service_role" else self.supabase_anon_key or key)

    @property
    def provenance(self) -> Provenance:
        """What these settings were read from."""
        return self._provenance

    def location(self, name: str) -> Location:
        """Where a key was kept when these settings were read."""
        return self._provenance.locations.get(name, Location(name))

    @property
    def secrets(self) -> list[str]:
        """What no output may contain: the secrets, and keys derived from them."""
        token = self.bot_token.get_secret_value()
        return [self.supabase_key.get_secret_value(), token, web_app_key(token)]

    @cached_property
    def redact(self) -> Redactor:
        """What every text passes on its way out. Texts for users lose our addresses as well."""
        return Redactor(
            self.secrets, [self.supabase_url, self.telegram_api_url, *self._provenance.proxies]
        )

    @model_validator(mode="after")
    def _lease_outlives_send(self) -> Self:
        if self.lease_seconds < 2 * self.send_timeout + 5:
            raise ValueError(
                "LEASE_SECONDS must be at least 2 * SEND_TIMEOUT + 5 "
                f"({2 * self.send_timeout + 5:g}), or sweeps take back rows that are being sent"
            )
        if self.fallback_poll_interval > self.sweep_interval:
            raise ValueError(
                "FALLBACK_POLL_INTERVAL must not exceed SWEEP_INTERVAL, which it replaces while "
                "the doorbell is down"
            )
        if self.telegram_rate > 30 and not self.allow_paid_broadcast:  # noqa: PLR2004 - Bots FAQ
            raise ValueError(
                "TELEGRAM_RATE above 30 needs ALLOW_PAID_BROADCAST=true (0.1 Star per message), "
                "or Telegram answers 429"
            )
        return self
