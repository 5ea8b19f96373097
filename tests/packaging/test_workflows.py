"""What a tag sets off: only what was tested gets out, by jobs that can do little else."""

import re
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tests.packaging.conftest import REPOSITORY

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
RELEASE = GITHUB / "workflows" / "release.yml"
WRITES = {"attest", "image", "pypi", "notes"}


def load(path):
    return YAML(typ="safe").load(path)


JOBS = load(RELEASE)["jobs"]


def steps():
    """All steps of all workflows."""
    for one in WORKFLOWS:
        for job in load(one)["jobs"].values():
            yield from job.get("steps", ())


def test_an_action_is_the_same_commit_everywhere():
    """By commit, since a tag can be moved, with the version that it is beside it."""
    text = "".join(path.read_text() for path in WORKFLOWS)
    uses = {step["uses"] for step in steps() if "uses" in step}

    assert len({action.partition("@")[0] for action in uses}) == len(uses)
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", action)
        comments = set(re.findall(rf"{action}(.*)\n", text))
        assert len(comments) == 1
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comments.pop())


def test_checkouts_leave_no_token_behind():
    """What runs after them could take it."""
    checkouts = [one for one in steps() if one.get("uses", "").startswith("actions/checkout@")]

    assert len(checkouts) > 4
    assert all(one["with"]["persist-credentials"] is False for one in checkouts)


def test_scripts_are_not_made_of_what_others_name():
    """A tag may be called anything: it reaches a shell as a variable, never as its text."""
    assert [step["run"] for step in steps() if "${{" in step.get("run", "")] == []


def test_only_a_tag_releases():
    """No branch, no pull request, no button."""
    assert load(RELEASE)["on"] == {"push": {"tags": ["v*"]}}


def test_each_job_can_do_what_it_must_and_no_more():
    """Nobody who can sign or publish runs what the tests or the build brought in."""
    read = {"contents": "read"}
    sign = {"attestations": "write", "id-token": "write"}

    assert load(RELEASE)["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "check": read,
        "test": read,
        "build": read,
        "test-dist": read,
        "attest": sign,
        "image": {**read, **sign, "packages": "write"},
        "pypi": {"id-token": "write"},
        "notes": {"contents": "write"},
    }


def test_nothing_is_kept_that_could_be_stolen():
    """PyPI and the registry trust the workflow itself; the one secret is the run's own token."""
    text = RELEASE.read_text()

    assert set(re.findall(r"secrets\.(\w+)", text)) == {"GITHUB_TOKEN"}
    assert JOBS["pypi"]["environment"]["name"] == "pypi"


def before(name):
    """All jobs that must have gone well before this one begins."""
    needs = JOBS[name].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*map(before, direct))


@pytest.mark.parametrize("name", sorted(WRITES))
def test_nothing_gets_out_untested(name):
    """The tag, the suite and the files themselves, on every Python."""
    assert {"check", "test", "build", "test-dist"} <= before(name)
    assert all(job.get("if") is None for job in JOBS.values())
    assert {one for one, job in JOBS.items() if "write" in job["permissions"].values()} == WRITES


def test_what_cannot_be_taken_back_comes_late():
    """PyPI takes a version once: when it is signed and the image is there."""
    assert {"attest", "image"} <= before("pypi")
    assert "pypi" in before("notes")


def test_the_files_that_are_published_are_those_that_were_tested():
    """Built once, and handed on."""
    brought = {
        name: step["with"]["name"]
        for name, job in JOBS.items()
        for step in job.get("steps", ())
        if step.get("uses", "").startswith("actions/download-artifact@")
    }
    (tested,) = [step for step in JOBS["test-dist"]["steps"] if "run" in step]
    runs = [name for name, job in JOBS.items() if "hatchling" in str(job)]

    assert brought == dict.fromkeys(("test-dist", "attest", "pypi", "notes"), "dist")
    assert tested["env"] == {"DIST": "dist"}
    assert runs == ["build"]


def test_the_release_runs_what_a_developer_runs():
    """The suite of every push, on the Pythons that the package is for."""
    suite = load(GITHUB / "workflows" / "test.yml")["jobs"]["test"]

    assert JOBS["test"]["uses"] == "./.github/workflows/test.yml"
    assert JOBS["test-dist"]["strategy"]["matrix"] == suite["strategy"]["matrix"]


def step(job, name):
    (found,) = [one for one in JOBS[job]["steps"] if one.get("name") == name]
    return found["run"]


@pytest.mark.parametrize(
    ("tag", "tags"),
    [
        ("v1.2.3", ["ghcr.io/owner/name:1.2.3", "ghcr.io/owner/name:latest"]),
        ("v1.2.3rc1", ["ghcr.io/owner/name:1.2.3rc1"]),
    ],
)
def test_images_are_named_by_their_version(tmp_path, tag, tags):
    """In lower case, which registries insist on; a candidate is not the latest."""
    output = tmp_path / "output"

    subprocess.run(
        ["bash", "-e", "-c", step("image", "Name the image")],
        check=True,
        env={"GITHUB_REPOSITORY": "Owner/Name", "GITHUB_REF_NAME": tag, "GITHUB_OUTPUT": output},
    )

    first, second, *lines = output.read_text().splitlines()
    assert [first, second] == ["image=ghcr.io/owner/name", f"version={tag[1:]}"]
    assert lines == ["tags<<END", *tags, "END"]


def test_the_image_says_what_is_in_it():
    """And who made it of what."""
    (build,) = [one for one in JOBS["image"]["steps"] if "build-push" in one.get("uses", "")]
    (signed,) = [one for one in JOBS["image"]["steps"] if "attest" in one.get("uses", "")]

    assert (build["with"]["sbom"], build["with"]["provenance"]) == (True, "mode=max")
    assert build["with"]["file"] == "deploy/Dockerfile"
    assert signed["with"]["subject-digest"] == "${{ steps.push.outputs.digest }}"


@pytest.mark.parametrize(("tag", "candidate"), [("v1.2.3", False), ("v1.2.3rc1", True)])
def test_a_release_has_its_notes_and_files(tmp_path, tag, candidate):
    """As `gh` is told; a candidate is marked as one."""
    program = tmp_path / "gh"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/told"\n')
    program.chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    for name in ("scripts", "pyproject.toml", "CHANGELOG.md"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "a.whl").touch()

    subprocess.run(
        [
            "bash",
            "-e",
            "-c",
            step("notes", "Make the release"),
        ],
        check=True,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_REF_NAME": tag},
    )

    told = (tmp_path / "told").read_text().split()
    assert told[:4] == ["release", "create", tag, "--verify-tag"]
    assert told[-1] == "dist/a.whl"
    assert ("--prerelease" in told) is candidate
    notes = [sys.executable, REPOSITORY / "scripts" / "release.py", "notes"]
    assert (tmp_path / "notes.md").read_bytes() == subprocess.check_output(notes) != b""


def test_dependabot_looks_at_everything_that_is_pinned():
    """Each kind of file, where it is."""
    updates = load(GITHUB / "dependabot.yml")["updates"]
    looked_at = {
        (one["package-ecosystem"], folder)
        for one in updates
        for folder in one.get("directories") or [one["directory"]]
    }

    assert looked_at == {
        ("pip", "/"),
        ("npm", "/"),
        ("npm", "/examples/mini-app"),
        ("github-actions", "/"),
        ("docker", "/deploy"),
    }
    for kind, folder in looked_at - {("github-actions", "/")}:
        file = {"pip": "pyproject.toml", "npm": "package.json", "docker": "Dockerfile"}[kind]
        assert (REPOSITORY / folder.strip("/") / file).is_file()
