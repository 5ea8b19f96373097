"""Findings: one line of `check` each, with the fix."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it works, but somebody should know
    FAILED = "failed"
    SKIPPED = "skipped"  # it cannot be checked, because of something else


class Where(StrEnum):
    """Where to paste a fix, or that a person must act."""

    SQL = "SQL editor"
    SHELL = "shell"
    ENV = ".env"
    PERSON = "by hand"


@dataclass(frozen=True, slots=True)
class Fix:
    """How to fix a finding: `text` can be pasted as it is, unless it is for a person."""

    where: Where
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`."""

    name: str
    status: Status
    detail: str
    fix: Fix | None = None
    milliseconds: float | None = None


def ok(name: str, detail: str, milliseconds: float | None = None) -> Finding:
    """All is well."""
    return Finding(name, Status.OK, detail, milliseconds=milliseconds)


def warning(name: str, detail: str, fix: Fix | None = None) -> Finding:
    """It works, but somebody should know."""
    return Finding(name, Status.WARNING, detail, fix)


def failed(name: str, detail: str, fix: Fix) -> Finding:
    """It does not work, and this is the fix."""
    return Finding(name, Status.FAILED, detail, fix)


def skipped(name: str, because: str) -> Finding:
    """It could not be checked."""
    return Finding(name, Status.SKIPPED, f"not checked, because {because}")
