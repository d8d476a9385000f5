"""What is written from one place says the same everywhere: the address, the lock, the citation, the license."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

import companion
from tools import address, book, set_up
from tools.blocks import Directive, Equation, Target, Text, parse
from tools.book import ROOT
from tools.prose import expand

URL = "https://github.com/somebody/something"
HOME = "https://somebody.github.io/something"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_everything_that_carries_the_address_was_written_from_the_settings():
    assert address.config(read("_config.yml"), book.address(), book.home().rstrip("/")) == read("_config.yml")
    assert address.readme(read("README.md")) == read("README.md"), "run `make address URL=...`"
    assert address.citation(read("CITATION.cff")) == read("CITATION.cff"), "run `make address URL=...`"


def test_an_address_switches_the_buttons_on_and_taking_it_away_switches_them_off():
    published = address.config(read("_config.yml"), URL, HOME)
    settings = yaml.safe_load(published)
    assert settings["repository"]["url"] == URL
    assert settings["html"]["baseurl"] == HOME
    assert settings["html"]["use_repository_button"] and settings["launch_buttons"]["colab_url"]
    assert settings["sphinx"] == yaml.safe_load(read("_config.yml"))["sphinx"]
    empty = yaml.safe_load(address.config(published, "", ""))
    assert not empty["html"]["baseurl"]
    assert not any((empty["repository"]["url"], empty["launch_buttons"]["colab_url"]))
    assert not any((empty["html"]["use_repository_button"], empty["html"]["use_edit_page_button"]))


def test_an_address_reaches_the_readme_the_citation_the_metadata_and_every_chapter_and_goes_again(tmp_path):
    copy = tmp_path / "a copy"
    ignored = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)

    def make_address(url: str, home: str) -> None:
        code = "import sys; from tools import address; address.write(*sys.argv[1:])"
        command = [sys.executable, "-c", code, url, home]
        subprocess.run(command, cwd=copy, check=True, capture_output=True)

    def everything() -> str:
        files = sorted(file for file in copy.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    before = everything()
    make_address(f"{URL}.git", f"{HOME}/")
    colab = "https://colab.research.google.com/github/somebody/something/blob/main/notebooks/"
    assert colab in (copy / "README.md").read_text()
    assert yaml.safe_load((copy / "CITATION.cff").read_text())["repository-code"] == URL
    metadata = json.loads((copy / "codemeta.json").read_text())
    assert (metadata["codeRepository"], metadata["softwareHelp"]) == (URL, f"{HOME}/")
    for page in book.chapters():
        for suffix in (".md", ".ipynb"):
            assert f"git+{URL}" in (copy / f"{page.path}{suffix}").read_text()
    make_address(book.address(), book.home())
    assert everything() == before


def test_an_address_that_colab_cannot_open_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"expected https://github\.com/OWNER/NAME"):
        address.write("https://example.org/something")
    with pytest.raises(ValueError, match="PAGES is nowhere, expected the https address"):
        address.write(URL, "nowhere")


def test_the_lock_pins_everything_and_torch_without_a_variant():
    lines = [line for line in read("requirements.txt").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert "torch==2.13.0" in lines
    settings = tomllib.loads(read("pyproject.toml"))
    extras, groups = settings["project"]["optional-dependencies"], settings["dependency-groups"]
    asked = [settings["project"]["dependencies"], *extras.values(), groups["book"], groups["dev"]]
    locked = dict(line.split("==") for line in lines)
    for needed in (Requirement(each) for some in asked for each in some):
        assert needed.specifier.contains(locked[needed.name]), f"{needed}: run `make lock`"


def test_each_slip_that_is_proved_to_change_nothing_is_one_of_the_code_of_today():
    for slip in json.loads(read("benchmarks/mutation_equivalent.json")):
        assert slip["before"] in read(slip["file"]), slip
        assert slip["before"] != slip["after"]
        assert slip["why"]


def test_the_citation_file_is_complete():
    citation = yaml.safe_load(read("CITATION.cff"))
    jsonschema.validate(
        citation,
        {
            "required": ["cff-version", "message", "title", "authors"],
            "properties": {
                "cff-version": {"const": "1.2.0"},
                "type": {"enum": ["software", "dataset"]},
                "authors": {"const": [{"name": "the companion's contributors"}]},
                "references": {"items": {"required": ["type", "title", "authors"]}},
                "keywords": {"uniqueItems": True},
            },
        },
    )
    assert citation["version"] == companion.__version__
    assert "the companion's contributors" in read("LICENSE")
    assert "CC BY 4.0" in read("LICENSE-text.md")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError('Failed to establish a new connection: Temporary failure in name resolution')", "network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build for this Python"),
        ("something else", "could not be installed"),
    ],
)
def test_what_stops_an_installation_is_one_sentence(said, sentence):
    explained = set_up.explain(said)
    assert sentence in explained
    assert "\n" not in explained


def test_the_block_parser_tells_what_is_numbered_from_what_is_not():
    text = """(here)=
# Title

::::{prf:theorem} Name
:label: first
Text.

:::{note}
$$
a
$$ (inner)
:::
::::

```python
$$ not an equation $$ (no)
```
"""
    blocks = parse(text)
    assert blocks[0] == Target("here")
    assert blocks[1] == Text("# Title")
    assert isinstance(blocks[2], Directive)
    assert (blocks[2].name, blocks[2].argument, blocks[2].options) == ("prf:theorem", "Name", {"label": "first"})
    note = parse(blocks[2].body)[1]
    assert isinstance(note, Directive)
    assert parse(note.body) == [Equation("a", "inner")]
    assert len(blocks) == 4


@pytest.mark.parametrize(
    ("tex", "expanded"),
    [
        (r"\E X", r"\mathbb{E} X"),
        (r"\Epsilon", r"\Epsilon"),
        (r"\norm{x_{1}}y", r"\lVert x_{1} \rVert y"),
        (r"a_\snr", r"a_{\operatorname{snr}}"),
        (r"\norm{\norm{x}}", r"\lVert \lVert x \rVert \rVert"),
    ],
)
def test_macros_are_written_out(tex, expanded):
    assert expand(tex) == expanded
