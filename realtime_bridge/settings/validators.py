"""Validators of settings. Each raises ValueError that says what is wrong, and the fix."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from realtime_bridge.credentials import claims_of, is_cut_short

PLANNER_OFF = "off"

_OBJECT = re.compile(r"[\w.]+:[\w.]+")
_KEY = re.compile(r"[A-Za-z0-9._=-]+")


def base_url(value: str) -> str:
    """Accept a server's address; drop its trailing slash."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://abcdefgh.supabase.co")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain address without user, password, query or fragment")
    return value.rstrip("/")


def opens_mini_app(url: str) -> bool:
    """Whether a button can open this address: a web page, or a link into Telegram."""
    parts = urlsplit(url)
    return parts.scheme in {"https", "http", "tg"} and bool(parts.netloc)


def mini_app_url(value: str) -> str:
    """Accept an address that opens the Mini App."""
    if not opens_mini_app(value):
        raise ValueError("must be an address such as https://t.me/my_bot/app")
    return value


def supabase_url(value: str) -> str:
    """Accept a project's address; drop the path of one of its services."""
    url = base_url(value)
    if "/dashboard" in url:
        ref = url.rsplit("/", 1)[-1]
        raise ValueError(f"is the dashboard's address; use https://{ref}.supabase.co")
    return re.sub(r"/(rest|realtime|auth)/v1.*$", "", url)


def service_key(value: SecretStr) -> SecretStr:
    """Accept a key that may call the bridge's functions."""
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
    """Refuse two lines, and a file that is still being written."""
    if not _KEY.fullmatch(key):
        raise ValueError("has characters that no key has: it must be one key on one line")
    if is_cut_short(key):
        raise ValueError("is a truncated JWT: its end is missing")


def public_key(key: str) -> str:
    """Accept a key that is meant for browsers."""
    _must_be_whole(key)
    if not key.startswith("sb_publishable_") and (claims_of(key) or {}).get("role") != "anon":
        raise ValueError("is neither the publishable nor the anon key")
    return key


def bot_token(value: SecretStr) -> SecretStr:
    """Accept a token as BotFather gives it."""
    token = value.get_secret_value().strip()
    if not re.fullmatch(r"\d{3,20}:[A-Za-z0-9_-]{20,100}", token):
        raise ValueError("is not a bot token; BotFather gives one like 123456789:AA...")
    return SecretStr(token)


def existing_folder(value: Path) -> Path:
    """Accept a folder that exists."""
    if not os.path.isdir(value):  # noqa: PTH112 - Path's raises for names that are too long
        raise ValueError(f"is not a folder: {value}")
    return value


def existing_file(value: Path) -> Path:
    """Accept a file that exists."""
    if not os.path.isfile(value):  # noqa: PTH113 - as above
        raise ValueError(f"is not a file: {value}")
    return value


def planner_name(value: str) -> str:
    """Accept module:object, or `off`."""
    if value != PLANNER_OFF and not _OBJECT.fullmatch(value):
        raise ValueError(f"must be module:object, such as my_app.plans:make_plan, or {PLANNER_OFF}")
    return value


def object_names(value: str) -> str:
    """Accept one or more module:object, separated by commas."""
    if not all(_OBJECT.fullmatch(name.strip()) for name in value.split(",")):
        raise ValueError("must be module:object, or several of them, separated by commas")
    return value


def time_of_day(value: str) -> str:
    """Accept a time such as 09:00."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("must be a time of day from 00:00 to 23:59")
    return value
