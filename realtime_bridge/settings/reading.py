"""Builds settings from their source: a frozen object, or every problem at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from realtime_bridge.credentials import Redactor
from realtime_bridge.settings.errors import ConfigurationError
from realtime_bridge.settings.model import Provenance, Settings
from realtime_bridge.settings.source import KEYS, Source, resolve

_FIELDS = {field.alias or name: field for name, field in Settings.model_fields.items()}
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Load settings from the environment and, below it, an env file (default `./.env`).

    Raises ConfigurationError with every problem at once.
    """
    return build(source_of(environ, env_file))


def source_of(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Source:
    """The environment over an env file; one that is named must exist."""
    return Source(
        os.environ if environ is None else environ,
        env_file or Path(".env"),
        must_exist=env_file is not None,
    )


def parse(variables: Mapping[str, str | None]) -> Settings:
    """Build settings from a mapping of names; empty values count as absent.

    Raises ConfigurationError with every problem at once.
    """
    return build(Source(variables))


def build(source: Source) -> Settings:
    """Build settings from a source. Raises ConfigurationError with every problem at once."""
    variables = source.read()
    return _validated(*resolve(variables, _FIELDS), source, variables)


def _validated(
    values: dict[str, str],
    problems: list[str],
    source: Source,
    variables: Mapping[str, str | None],
) -> Settings:
    unreadable = tuple(problem.partition("_FILE ")[0] for problem in problems)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_input=False)
        problems = problems + [
            _explain(one) for one in details if not (one["loc"] and one["loc"][0] in unreadable)
        ]
    if problems:
        raise ConfigurationError(problems)
    proxies = (value for name, value in variables.items() if name.lower() in _PROXIES)
    locations = {name: source.locate(name, variables) for name in KEYS}
    provenance = Provenance(source, values, locations, tuple(filter(None, proxies)))
    settings._provenance = provenance  # noqa: SLF001 - only building sets it
    return settings


def reload_keys(settings: Settings) -> Settings:
    """Return the settings with the keys as they are now. Raises ConfigurationError."""
    source = settings.provenance.source
    if source is None:
        return settings
    variables = source.read()
    keys, problems = resolve(variables, KEYS)
    others = {n: value for n, value in settings.provenance.values.items() if n not in KEYS}
    return _validated({**others, **keys}, problems, source, variables)


def changed_since(settings: Settings) -> list[str]:
    """Name the settings, other than keys, that have changed since these were read."""
    source = settings.provenance.source
    if source is None:
        return []
    others = set(_FIELDS) - set(KEYS)
    now, _ = resolve(source.read(), others)
    before = settings.provenance.values
    return sorted(name for name in others if now.get(name) != before.get(name))


def redactor(variables: Mapping[str, str | None]) -> Redactor:
    """Make what hides the secrets of these settings, even if those are not valid."""
    try:
        return parse(variables).redact
    except ConfigurationError:
        return makeshift_redactor(variables)


def makeshift_redactor(variables: Mapping[str, str | None]) -> Redactor:
    """Make what hides the secrets of settings that are known to be invalid."""
    return Redactor(filter(None, (variables.get(name) for name in ("SUPABASE_KEY", "BOT_TOKEN"))))


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    if detail["type"] == "missing":
        return f"{name} is not set: {_FIELDS[name].description}"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name} {text}".strip()
