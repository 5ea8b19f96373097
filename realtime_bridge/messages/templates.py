"""Templates and words by locale: the packaged ones, and a user's folder that overrides them."""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from babel import Locale, UnknownLocaleError
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, Template, TemplateError

PACKAGED = Path(__file__).parent / "locales"
LAST_RESORT = "en"  # the packaged locale that lacks nothing

_SUFFIX = ".html"
_DIGEST_SUFFIX = ".digest.html"
_WORDS = "words.toml"
_LOCALE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]{1,8}){0,3}")


class BadTemplates(ValueError):  # noqa: N818 - says what is wrong, as ConfigurationError does
    """A templates folder that cannot be used; the text names the file and the fix."""


@dataclass(frozen=True)
class LocalizedTemplate:
    """A template, and the language it is written in (a key such as `uk` or `pt_br`)."""

    template: Template
    language: str


@dataclass
class _Folder:
    """What one templates folder holds; languages are keys."""

    templates: dict[tuple[str, str], Template] = field(default_factory=dict)  # language, event type
    digests: dict[tuple[str, str], Template] = field(default_factory=dict)  # likewise
    words: dict[str, dict[str, str]] = field(default_factory=dict)


class Templates:
    """All templates, compiled at start, so that a broken one shows before the first event.

    Event types are looked up among those, so a hostile one never reaches the file system.
    Raises BadTemplates.
    """

    def __init__(
        self, environment: Environment, *, templates_dir: Path | None, default_locale: str
    ) -> None:
        folders = [PACKAGED] if templates_dir is None else [templates_dir, PACKAGED]
        environment.loader = ChoiceLoader([FileSystemLoader(folder) for folder in folders])
        self._folders = [_read(environment, folder) for folder in folders]
        self._own = templates_dir
        self._default = default_locale
        self._own_words: dict[str, Mapping[str, str]] = {}  # by language of a template

    def find(self, event_type: str, locale: str | None) -> LocalizedTemplate | None:
        """Find the template for an event: the user's folder first, and in it the locale first."""
        return self._closest([folder.templates for folder in self._folders], event_type, locale)

    def find_digest(self, event_type: str, locale: str | None) -> LocalizedTemplate | None:
        """Find the template for several events of a type in one message, in the same order."""
        return self._closest([folder.digests for folder in self._folders], event_type, locale)

    def check_digests(self, gathered: Collection[str]) -> None:
        """Raise BadTemplates unless the digest templates are those of the types that are gathered.

        The packaged ones are there in case they are.
        """
        folder = self._own or PACKAGED
        for event_type in gathered:
            if self.find_digest(event_type, None) is None:
                path = folder / LAST_RESORT / f"{event_type}{_DIGEST_SUFFIX}"
                raise BadTemplates(f"events.toml: [{event_type}] digest needs a template: {path}")
        for language, event_type in self._folders[0].digests if self._own else ():
            if event_type not in gathered:
                path = folder / language / f"{event_type}{_DIGEST_SUFFIX}"
                raise BadTemplates(
                    f'{path} is never used: write digest = "10s" below [{event_type}] in '
                    f"events.toml, or remove the file"
                )

    def word(self, name: str, language: str | None, default: str) -> str:
        """Find a short text in a language, or in one that it falls back to."""
        for key in (*self._languages(language), LAST_RESORT):
            for folder in self._folders:
                word = folder.words.get(key, {}).get(name)
                if word:
                    return word
        return default

    def own_words(self, language: str) -> Mapping[str, str]:
        """Return the short texts in this language only, without falling back to another."""
        found = self._own_words.get(language)
        if found is None:
            found = self._own_words[language] = self._merged(language)
        return found

    def _merged(self, language: str) -> Mapping[str, str]:
        merged: dict[str, str] = {}
        for key in reversed(fallbacks(language)):
            for folder in reversed(self._folders):
                merged |= folder.words.get(key, {})
        return MappingProxyType(merged)

    def _closest(
        self,
        folders: Iterable[Mapping[tuple[str, str], Template]],
        event_type: str,
        locale: str | None,
    ) -> LocalizedTemplate | None:
        for languages in (self._languages(locale), (LAST_RESORT,)):
            for templates in folders:
                for language in languages:
                    template = templates.get((language, event_type))
                    if template:
                        return LocalizedTemplate(template, language)
        return None

    def _languages(self, locale: str | None) -> tuple[str, ...]:
        return (*fallbacks(locale), *fallbacks(self._default))


@lru_cache(maxsize=256)
def fallbacks(locale: str | None) -> tuple[str, ...]:
    """Return the keys to try for a locale, the most specific first; none if it is not a locale.

    >>> fallbacks("pt-BR"), fallbacks("../en"), fallbacks(None)
    (('pt_br', 'pt'), (), ())
    """
    if not locale or not _LOCALE.fullmatch(locale):
        return ()
    parts = re.split("[_-]", locale.lower())
    return tuple("_".join(parts[:n]) for n in range(len(parts), 0, -1))


@lru_cache(maxsize=256)
def babel_locale(language: str, wanted: str | None = None) -> Locale:
    """Choose how a text in `language` writes dates and numbers.

    `wanted`, the user's locale, decides if it is a region of that language.

    >>> babel_locale("en", "en-GB"), babel_locale("en", "uk"), babel_locale("xx")
    (Locale('en', territory='GB'), Locale('en'), Locale('en'))
    """
    regional = fallbacks(wanted)
    same = bool(regional) and regional[-1] == fallbacks(language)[-1]
    for key in (*(regional if same else ()), *fallbacks(language)):
        try:
            return Locale.parse(key)
        except (ValueError, UnknownLocaleError):
            continue
    return Locale(LAST_RESORT)


def _read(environment: Environment, folder: Path) -> _Folder:
    found = _Folder()
    for path in _files(folder):
        keys = fallbacks(path.parent.name)
        if path.parent.parent != folder or not keys:
            raise BadTemplates(
                f"{path}: a template belongs in a folder named after its locale, such as "
                f"{folder / LAST_RESORT / path.name}"
            )
        if path.name == _WORDS:
            found.words[keys[0]] = _words(path)
        else:
            template = _compiled(environment, path.relative_to(folder).as_posix())
            if path.name.endswith(_DIGEST_SUFFIX):
                found.digests[keys[0], path.name.removesuffix(_DIGEST_SUFFIX)] = template
            else:
                found.templates[keys[0], path.name.removesuffix(_SUFFIX)] = template
    return found


def _files(folder: Path) -> Iterable[Path]:
    """List the files to read; names that begin with `_` are only included, with `.` ignored."""
    try:
        if not folder.is_dir():
            raise BadTemplates(f"{folder} is not a folder")
        return [
            path
            for path in sorted(folder.rglob("*"))
            if (path.suffix == _SUFFIX or path.name == _WORDS)
            and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
            and path.is_file()
        ]
    except OSError as error:  # no right to look, a loop of links
        raise BadTemplates(
            f"{error.filename or folder} cannot be read: {error.strerror}"
        ) from error


def _compiled(environment: Environment, name: str) -> Template:
    try:
        return environment.get_template(name)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{name}, line {line}" if line else name
        raise BadTemplates(f"{where}: {error.message}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadTemplates(f"{name} cannot be read: {error}") from error
    except (SyntaxError, ArithmeticError, ValueError, RecursionError, MemoryError) as error:
        # Of Python, to which Jinja translates it: numbers without end, too much nesting.
        raise BadTemplates(f"{name} cannot be compiled: {type(error).__name__}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of a templates folder. Raises BadTemplates."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: neither UTF-8 nor TOML
        raise BadTemplates(f"{path} cannot be read: {error}") from error
    except RecursionError:
        raise BadTemplates(f"{path} cannot be read: it is nested too deeply") from None


def _words(path: Path) -> dict[str, str]:
    words = read_toml(path)
    wrong = [name for name, word in words.items() if not isinstance(word, str)]
    if wrong:
        raise BadTemplates(f'{path}: {wrong[0]} must be a text, such as {wrong[0]} = "..."')
    return words
