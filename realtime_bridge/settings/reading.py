"""A mapping of names goes in; a frozen object, or every error at once, comes out."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)

from realtime_bridge.credentials import Redactor
from realtime_bridge.settings.errors import ConfigurationError
from realtime_bridge.settings.model import Origin, Settings
from realtime_bridge.settings.source import KEYS, Source, known_in

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


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
    return _build(*known_in(values, _names()), source, values)


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
    homes = {name: source.home(name, values) for name in KEYS}
    origin = Origin(source, known, homes, tuple(filter(None, proxies)))
    settings._origin = origin  # noqa: SLF001 - this is what builds them
    return settings


def with_keys_again(settings: Settings) -> Settings:
    """Return the settings with the keys as they are now. Raises ConfigurationError."""
    source = settings.origin.source
    if source is None:
        return settings
    values = source.read()
    fresh, problems = known_in(values, KEYS)
    kept = {name: value for name, value in settings.origin.known.items() if name not in KEYS}
    return _build({**kept, **fresh}, problems, source, values)


def changed_since(settings: Settings) -> list[str]:
    """Name the settings beside the keys that changed since they were read."""
    source = settings.origin.source
    if source is None:
        return []
    others = set(_names()) - set(KEYS)
    now, _ = known_in(source.read(), others)
    before = settings.origin.known
    return sorted(name for name in others if now.get(name) != before.get(name))


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
