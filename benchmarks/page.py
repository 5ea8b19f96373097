"""Write docs/performance.md: each part its own section, between markers; the prose stays.

`python -m benchmarks.page [PART ...]` writes sections again from the kept results of a full run.
"""

import json
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path

from benchmarks.numbers import table
from benchmarks.results import RESULTS
from benchmarks.sections import PARTS, SECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SUMMARY = "summary"
_VERDICT = re.compile(r"(holds|FALLS SHORT): (.+) = (\S+) \((at (?:least|most) \S+)\)")


def block(page: str, name: str) -> str:
    """Return what stands between the markers of a part. Raises ValueError unless there is one."""
    return _between(page, name)[1]


def replaced(page: str, name: str, text: str) -> str:
    """Return the page with other text between the markers of a part."""
    before, _, after = _between(page, name)
    return f"{before}{text.strip()}\n{after}"


def columns(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the columns of each Markdown table in a text."""
    heads = re.findall(r"^\|(.+)\|\n\|[-|]+\|$", text, re.MULTILINE)
    return tuple(tuple(cell.strip() for cell in head.split("|")) for head in heads)


def section(part: str, day: str, machine: str, report: str) -> str:
    """Return what a part writes: when and on what it ran, its tables, what holds."""
    if columns(report) != SECTIONS[part].tables:
        raise ValueError(f"the tables of {part} are not those that benchmarks/sections.py names")
    about = f"Measured on {day}. {'. '.join(machine.splitlines())}."
    paragraphs = [_listed(one) for one in report.strip().split("\n\n")]
    return "\n\n".join([textwrap.fill(about, 100, break_on_hyphens=False), *paragraphs])


def summary(page: str) -> str:
    """Return the table of everything that must hold, as the sections on the page say it."""
    rows = [
        (f"[{part}](#{_anchor(number, part)})", what, limit, value, _word(word))
        for number, part in enumerate(PARTS, 1)
        for word, what, value, limit in _VERDICT.findall(block(page, part))
    ]
    return table(["part", "what", "target", "measured", ""], rows)


def write(part: str, day: str, machine: str, report: str) -> None:
    """Put the report of a full run into the page, and the summary in step with it."""
    page = replaced(PAGE.read_text(encoding="utf-8"), part, section(part, day, machine, report))
    PAGE.write_text(replaced(page, SUMMARY, summary(page)), encoding="utf-8")


def _listed(paragraph: str) -> str:
    """Return a paragraph of verdicts as a list; others as they are."""
    if _VERDICT.search(paragraph):
        return re.sub("^", "- ", paragraph, flags=re.MULTILINE)
    return paragraph


def _between(page: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name}: written by make bench -->\n", f"<!-- end of {name} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page has no place, or two, for what {name} writes")
    before, _, rest = page.partition(begin)
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after


def _anchor(number: int, part: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", SECTIONS[part].title.lower())
    return f"{number}-{kept.replace(' ', '-')}"


def _word(verdict: str) -> str:
    return verdict if verdict == "holds" else "**falls short**"


def main() -> None:
    """Write the parts that are named from their kept results; by default all that were kept."""
    for part in sys.argv[1:] or [part for part in PARTS if (RESULTS / f"{part}.json").exists()]:
        kept = json.loads((RESULTS / f"{part}.json").read_text())
        report = import_module(f"benchmarks.{part}").report(kept["result"])
        write(part, kept["day"], kept["machine"], report)


if __name__ == "__main__":
    main()
