"""docs/performance.md is written by the benchmarks: each table stands where its part puts it."""

import re

import pytest

from benchmarks import page
from benchmarks.sections import PARTS, SECTIONS

TEXT = page.PAGE.read_text(encoding="utf-8")
BY_HAND = (("change", "effect", "kept"),)
MACHINE = "CPU: 2 x Some\nnginx"


def report_of(part):
    """What a part could print: its tables with a row of dashes, and something that holds."""
    rows = "\n\n".join(
        "\n".join(f"|{'|'.join(cells)}|" for cells in (head, ["-"] * len(head), ["-"] * len(head)))
        for head in SECTIONS[part].tables
    )
    return f"{rows}\n\nholds: that = 3.00 (at least 2)\nand so on"


@pytest.mark.parametrize("part", PARTS)
def test_each_section_has_the_tables_of_its_part(part):
    """Its columns, below its own heading."""
    number = PARTS.index(part) + 1
    before = TEXT.partition(f"<!-- {part}: ")[0]
    heading = re.findall(r"^## .*", before, re.MULTILINE)[-1]

    assert heading == f"## {number}. {SECTIONS[part].title}"
    assert page.columns(page.block(TEXT, part)) == SECTIONS[part].tables
    assert (page.PAGE.parents[1] / "benchmarks" / f"{part}.py").exists()


def test_no_measurement_is_pasted_beside_the_sections():
    """The prose has one table, of what was tried."""
    prose = TEXT
    for name in (*PARTS, page.SUMMARY):
        prose = page.replaced(prose, name, "")

    assert page.columns(prose) == BY_HAND


def test_the_summary_says_what_the_sections_say():
    """Every verdict is in it, with its number."""
    assert page.block(TEXT, page.SUMMARY).strip() == page.summary(TEXT)
    assert TEXT.count("(at least ") + TEXT.count("(at most ") == page.summary(TEXT).count("](#")


def test_a_part_writes_its_own_section_only(tmp_path, monkeypatch):
    """And the summary follows."""
    copy = tmp_path / "performance.md"
    copy.write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)

    page.write("drain", "2030-01-02", MACHINE, report_of("drain"))

    written = copy.read_text(encoding="utf-8")
    assert "2030-01-02. CPU: 2 x Some. nginx." in page.block(written, "drain")
    assert "\n- holds: that = 3.00 (at least 2)\n- and so on\n" in page.block(written, "drain")
    assert "| that " in page.block(written, page.SUMMARY)
    for part in PARTS[1:]:
        assert page.block(written, part) == page.block(TEXT, part)
    for name in ("drain", page.SUMMARY):
        written = page.replaced(written, name, page.block(TEXT, name))
    assert written == TEXT


def test_the_table_of_another_part_is_refused():
    """As when the latencies stood where the drains should."""
    with pytest.raises(ValueError, match="tables of drain"):
        page.section("drain", "2030-01-02", MACHINE, report_of("latency"))


@pytest.mark.parametrize("broken", ["", TEXT + TEXT], ids=["no place", "two places"])
def test_a_page_without_a_place_for_it_is_refused(broken):
    """Rather than written somewhere."""
    with pytest.raises(ValueError, match="drain"):
        page.replaced(broken, "drain", "text")
