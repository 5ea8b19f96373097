"""The settings that `local` lends to a `.env` file: a block of its own, gone when it ends.

The block's first line carries a digest of the settings below it. So what somebody has written or
changed by hand is told from what this stack made up, and is never written over.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from tma_sandbox.errors import StackError

_BEGIN = "# realtime-bridge local: made up, goes when it ends, not to be edited"
_END = "# realtime-bridge local: end"
_BLOCK = re.compile(
    rf"^{_BEGIN} \[([0-9a-f]+)\]\r?\n((?:(?!#).*\n)*){_END}(?:\r?\n|\Z)", re.MULTILINE
)


@contextmanager
def lent(path: Path, values: Mapping[str, str]) -> Iterator[None]:
    """Have these settings in the file while the context lasts, made with mode 0600.

    The rest of the file stays as it is, byte by byte. Raises StackError as `obstacle` says.
    """
    if problem := obstacle(path, values):
        raise StackError(problem)
    _write(path, merged(_read(path), values))
    try:
        yield
    finally:
        _take_back(path, values)


def obstacle(path: Path, names: Mapping[str, str] | set[str]) -> str | None:
    """Why settings of these names cannot go into this file; None: nothing is in the way."""
    directory = path.resolve().parent
    if not directory.is_dir():
        return f"cannot write {path}: there is no directory {directory}"
    if not os.access(directory, os.W_OK) or (path.exists() and not path.is_file()):
        return f"cannot write {path}: name a file in a directory of yours with --env-file"
    try:
        lost = at_stake(_read(path), set(names))
    except (OSError, UnicodeDecodeError):
        return f"cannot read {path} as UTF-8 text: name another file with --env-file"
    if not lost:
        return None
    return (
        f"{path} has settings that are not this stack's: {', '.join(lost)}.\n"
        "They would be overridden. Keep them, and name another file, for example:\n"
        "  realtime-bridge local --env-file .env.stack"
    )


def at_stake(text: str, names: set[str]) -> list[str]:
    r"""The settings of these names that the file has outside our block, sorted.

    >>> at_stake("TOKEN=1:A\nKEY=\n# URL=x", {"TOKEN", "KEY", "URL"})
    ['TOKEN']
    """
    others = dotenv_values(stream=StringIO(_without(text)), interpolate=False)
    return sorted(name for name in names if others.get(name))


def merged(text: str, values: Mapping[str, str]) -> str:
    """The text of a file with our block at its end, where the last word is said."""
    rest = _without(text)
    newline = "" if not rest or rest.endswith("\n") else "\n"
    return f"{rest}{newline}{_block(values)}"


def _block(values: Mapping[str, str]) -> str:
    body = "".join(f"{name}={value}\n" for name, value in values.items())
    return f"{_BEGIN} [{_digest(body)}]\n{body}{_END}\n"


def _digest(body: str) -> str:
    return hashlib.sha256(body.replace("\r", "").encode()).hexdigest()[:16]


def _without(text: str) -> str:
    """The text without what is our own in it."""
    return _BLOCK.sub(lambda found: "" if _digest(found[2]) == found[1] else found[0], text)


def _take_back(path: Path, values: Mapping[str, str]) -> None:
    """Remove the block with these settings, and the file if nothing else is in it.

    Another stack may have written its own meanwhile: that stays, as does what was edited.
    """
    try:
        text = _read(path)
        rest = text.replace(_block(values), "")
        if rest == text:
            return
        if rest or path.is_symlink():
            _write(path, rest)
        else:
            path.unlink()
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"the settings in {path} are void now; remove them: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Replace the file: readers see the old one or the new one, never a half."""
    target = path.resolve()  # a symbolic link keeps pointing
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as scratch:
                scratch.write(text.encode())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StackError(f"cannot write {path}: {error.strerror}") from error
