"""What the world reads about the project says one thing: version, changelog, citation, metadata, workflows, paper."""

import json
import re
import subprocess
import sys

import pytest
import yaml

import companion
from tools import book, changelog, citations, codemeta, paper
from tools.book import ROOT
from tools.changelog import CHANGELOG

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_newest_section_of_the_changelog_is_the_version_everywhere():
    version, day = changelog.sections(CHANGELOG.read_text(encoding="utf-8"))[0]
    citation, meta = yaml.safe_load(read("CITATION.cff")), json.loads(read("codemeta.json"))
    assert {version} == {companion.__version__, citation["version"], meta["version"]}
    assert {day} == {str(citation["date-released"]), meta["datePublished"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## [0.2.0] - 2026-11-30\n", "does not begin with"),
        ("## [Unreleased]\n\n## [0.2.0]\n", "has no day"),
        ("## [Unreleased]\n\n## [0.9.0] - 2026-11-01\n\n## [0.10.0] - 2026-11-30\n", "not in order"),
    ],
)
def test_a_changelog_out_of_order_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        changelog.sections(text)


def test_a_tag_publishes_the_section_of_its_version_and_nothing_else():
    version = companion.__version__
    text = f"## [Unreleased]\n\n## [{version}] - 2026-11-30\n\n- New.\n\n## [0.0.1] - 2026-11-01\n\n- Old.\n"
    assert changelog.released(f"v{version}", text) == "- New."
    with pytest.raises(ValueError, match=r"the tag is v9\.9\.9, the package"):
        changelog.released("v9.9.9", text)
    with pytest.raises(ValueError, match="under \\[Unreleased\\]"):
        changelog.released(f"v{version}", text.replace("[Unreleased]\n", "[Unreleased]\n\n- Later.\n"))


def test_the_metadata_is_the_one_written_from_the_citation():
    assert read("codemeta.json") == codemeta.written(), "run `make editions`"


def test_citation_and_metadata_agree_line_by_line():
    """Read apart from the code that wrote one from the other."""
    citation, meta = yaml.safe_load(read("CITATION.cff")), json.loads(read("codemeta.json"))
    assert meta["@context"] == "https://w3id.org/codemeta/3.0"
    assert (meta["name"], meta["description"]) == (citation["title"], citation["abstract"])
    assert [author["name"] for author in meta["author"]] == [author["name"] for author in citation["authors"]]
    assert [license.rpartition("/")[2] for license in meta["license"]] == citation["license"]
    assert meta["keywords"] == citation["keywords"]
    assert meta.get("codeRepository", "") == citation.get("repository-code", "") == book.address()
    works = {work["url"]: work for work in citation["references"]}
    assert {work["url"] for work in meta["referencePublication"]} == set(works)
    for work in meta["referencePublication"]:
        cited = works[work["url"]]
        assert (work["name"], work["datePublished"]) == (cited["title"], str(cited["year"]))
        assert [each["familyName"] for each in work["author"]] == [each["family-names"] for each in cited["authors"]]


def test_there_is_a_workflow_that_publishes_on_a_tag_and_one_that_runs_every_week():
    loaded = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in WORKFLOWS}
    on = {name: each[True] for name, each in loaded.items()}  # YAML 1.1 reads the key `on` as a truth
    assert on["pages"]["push"]["tags"] == ["v*"]
    assert len(on["weekly"]["schedule"]) == 1
    for each in loaded.values():
        assert each["permissions"] == {"contents": "read"}, "a job asks for more by itself"


def test_every_workflow_fits_the_schema_of_workflows():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_make_command_of_a_workflow_exists():
    known = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
    called = {name for file in WORKFLOWS for name in re.findall(r"\bmake (\w+)", file.read_text(encoding="utf-8"))}
    assert called
    assert called <= known


def test_the_numbers_of_the_paper_are_those_of_the_results():
    text = paper.PAGE.read_text(encoding="utf-8")
    assert paper.with_values(text) == text, "run `make editions`"
    assert all(f"<!-- {name} -->" in text for name in paper.VALUES)


def test_every_number_of_the_paper_with_a_fraction_is_one_that_is_written_into_it():
    _, head, text = paper.PAGE.read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(head)["bibliography"] == "../book/references.bib"
    assert not re.findall(r"\d\.\d(?![^\s(]*<!--)", text)
    assert all(citations.entry(key) for key in re.findall(r"@(\w+)", text))
    assert len(text.split()) < 1000
