"""The pages before and after the chapters say only what is true of the repository beside them."""

import dataclasses
import importlib
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from pybtex.database import parse_file

from companion.entropy import partition
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture
from tools.reproducibility import page_with_models, page_with_tables, shipped

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))
CHAPTERS = sorted((ROOT / "notebooks").glob("*.md"))
PAPERS = ["entropic_signature", "information_dynamics", "separability", "semantic_production"]
MARKS = {"reproduced", "differs", "not yet"}


def text_of(name: str) -> str:
    return (BOOK / name).read_text(encoding="utf-8")


def rows_of(text: str) -> list[list[str]]:
    """The cells of every table row of a page, heads and rules left out."""
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    rules = {index for index, row in enumerate(cells) if all(set(cell) <= set("-: ") and cell for cell in row)}
    return [row for index, row in enumerate(cells) if index not in rules and index + 1 not in rules]


def resolved(name: str) -> object:
    """What a dotted name stands for: a module, something in it, or a field of a dataclass in it."""
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
            found = found.__dict__.get(part, part) if part in fields else getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


CODE_NAMES = sorted(
    {name for page in PAGES for name in re.findall(r"`(companion(?:\.\w+)+)`", page.read_text("utf-8"))}
    - {"companion.json"}  # a file
)


@pytest.mark.parametrize("name", CODE_NAMES)
def test_every_name_of_the_code_that_a_page_gives_exists(name):
    resolved(name)


def test_a_name_that_does_not_exist_is_noticed():
    with pytest.raises(AttributeError):
        resolved("companion.forward.Process.entropy")
    with pytest.raises(AttributeError):
        resolved("companion.nowhere")


# What the pages beside the code name: modules, files and folders, commands of make and of tools.
BESIDE = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
MOVED = re.compile(r"^\|[^|]+\| (`companion[\w.]+`) \|$", re.MULTILINE)
COMMANDS = re.compile(r"make (\w+)|python -m (tools\.\w+)")


@pytest.mark.parametrize("page", BESIDE)
def test_what_the_pages_beside_the_code_name_exists(page):
    text = BESIDE[page]
    said = re.findall(r"`([^`\n]+)`", "\n".join(MOVED.findall(text)) if page == "CHANGELOG.md" else text)
    for name in said:
        if re.fullmatch(r"(companion|derivations|tools)(\.\w+)+", name):
            resolved(name)
        elif re.fullmatch(r"[\w.-]+(/[\w.-]+)*(/|\.(md|py|json|toml|txt|yml|bib))", name) and "NAME" not in name:
            assert (ROOT / name).exists(), name
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    for target, module in COMMANDS.findall(text):
        assert target in targets if target else (ROOT / f"{module.replace('.', '/')}.py").exists(), target or module


def test_what_the_changelog_says_has_moved_is_gone_from_where_it_was():
    rows = [row for row in rows_of(BESIDE["CHANGELOG.md"]) if len(row) == 2]
    before = [name for row in rows for name in re.findall(r"`([\w.]+)`", row[0])]
    assert len(before) >= 20
    for name in before:
        with pytest.raises((ModuleNotFoundError, AttributeError)):
            resolved(name)


def test_every_row_of_the_notation_is_complete():
    rows = [row for row in rows_of(text_of("notation.md")) if len(row) == 5]
    assert len(rows) >= 25
    for row in rows:
        assert all(row), f"an empty cell in {row}"


def test_the_python_in_the_introduction_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", text_of("introduction.md"), re.S)

    def two_brightnesses(x, sigma, condition):
        return (condition.reshape(-1, 1, 1, 1) - 0.5).to(x.dtype).expand_as(x)

    exec(block, {"my_network": two_brightnesses})
    assert capsys.readouterr().out.startswith("cat|dog in function")


def test_the_python_in_the_readme_runs_and_the_exact_curves_lie_in_the_bands():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 12 and sum("import" in line for line in lines) == 1
    names = {}
    exec(block, names)
    *_, first, second, third = names["entropy"].lines
    for curve, result in zip((first, second, third), names["results"], strict=True):
        lower, upper = result.band(simultaneous=True)
        assert ((curve.get_ydata() >= lower - 1e-3) & (curve.get_ydata() <= upper + 1e-3)).all(), result.partition


def items_of(paper: str) -> list[list[str]]:
    text = text_of("measured_against_the_papers.md")
    section = next(part for part in re.split(r"^## ", text, flags=re.M) if part.startswith(paper + ":"))
    return [row for row in rows_of(section) if len(row) == 4]


def figures_of(paper: str) -> set[int]:
    """The numbers of the figures that a paper's table has a line for."""
    numbers: set[int] = set()
    for item in items_of(paper):
        if found := re.match(r"Figures? (\d+)(?: to (\d+))?", item[0]):
            numbers |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    return numbers


@pytest.mark.parametrize(("paper", "count"), [("ES", 18), ("ID", 5), ("SI", 19), ("MS", 1)])
def test_every_figure_of_the_papers_has_a_line(paper, count):
    assert figures_of(paper) == set(range(1, count + 1))


def test_the_main_paper_has_a_line_for_each_of_its_three_tables():
    assert sum(item[0].startswith("Table") for item in items_of("ES")) == 3


@pytest.mark.parametrize("paper", ["ES", "ID", "SI", "MS"])
def test_a_mark_is_one_of_three_and_says_where(paper):
    for name, shows, mark, where in items_of(paper):
        assert mark in MARKS, f"{name}: {mark}"
        assert shows
        assert (mark == "not yet") == (where == ""), f"{name} is {mark}: {where or 'it does not say where'}"
        for chapter in re.findall(r"\{doc\}`(/[^`]+)`", where):
            assert (ROOT / f"{chapter[1:]}.md").exists(), f"{name} points to {chapter}"


def numbers_of(cell: str) -> list[int]:
    """ "28 to 32" and "4, 5" as the numbers they mean."""
    ends = [list(map(int, part.split(" to "))) for part in cell.split(", ")]
    return [number for first, *last in ends for number in range(first, (last or [first])[0] + 1)]


@pytest.mark.parametrize(
    ("page", "last"),
    [
        ("equations_of_the_paper.md", 111),
        ("equations_of_information_dynamics.md", 100),
        ("equations_of_separability.md", 70),
    ],
)
def test_every_equation_of_a_paper_has_one_line(page, last):
    rows = [row for row in rows_of(text_of(page)) if len(row) == 4]
    assert sorted(number for row in rows for number in numbers_of(row[0])) == list(range(1, last + 1))
    for _, says, here, how in rows:
        assert says
        assert how in ("proved", "special case", "numbers", "prose"), how
        assert here == "not yet" or re.fullmatch(r"(\{(prf:ref|eq|ref|numref)\}`[\w-]+`(, )?)+", here), here


def test_the_account_is_dated():
    assert re.search(r"\*As of 2\d{3}-\d\d-\d\d\.\*", text_of("measured_against_the_papers.md"))


def test_the_floor_of_class_against_everything_is_a_divergence_of_two_distributions():
    # Not the closed form of the page: a class that is one of `count` equal atoms against the uniform distribution on
    # all of them, sides weighted equally. The entropy of the side given the atom is log 2 minus their divergence.
    for count, written in [(2, 0.4774), (10, 0.1675), (1000, 0.0040)]:
        sides = np.stack([np.eye(count)[0], np.full(count, 1 / count)]) / 2
        atoms = sides.sum(axis=0)
        posterior = sides / atoms
        entropy = -np.sum(sides * np.log(posterior, where=posterior > 0, out=np.zeros_like(posterior)))
        assert abs(entropy - written) < 0.00006  # the page rounds to four digits
        assert f"| {count} | {1 / count:g} | {written:.4f} | {100 * entropy / np.log(2):.1f}% |" in text_of(
            "measured_against_the_papers.md"
        )
    assert "{math}`0.1675`" in text_of("introduction.md")


def test_the_reproducibility_page_is_what_its_record_says():
    page = text_of("reproducibility.md")
    assert page_with_tables(page, json.loads(text_of("figures.json")), shipped()) == page, (
        "python -m tools.reproducibility"
    )


def test_the_table_of_models_is_what_its_result_says():
    page = text_of("models.md")
    assert page_with_models(page, shipped()["bring_your_own_model/adapters"]) == page, "python -m tools.reproducibility"


def test_the_python_on_the_page_of_models_runs():
    first, second = re.findall(r"```python\n(.*?)```", text_of("models.md"), re.S)

    def network(x, alpha, condition):  # the mean noise in the states of two Gaussian classes of unit variance
        signal, mean = alpha.reshape(-1, 1, 1, 1), condition.reshape(-1, 1, 1, 1).to(x.dtype)
        return (1.0 - signal**2).sqrt() * (x - signal * mean)

    names = {"network": network}
    exec(first, names)
    exec(second, names)


def figures_drawn_in(chapter: Path) -> list[str]:
    """The labels of the figures that the cells of a chapter draw."""
    options = re.findall(r"^```\{code-cell\}[^\n]*\n---\n(.*?)\n---$", chapter.read_text("utf-8"), flags=re.M | re.S)
    figures = [yaml.safe_load(option).get("mystnb", {}).get("figure") for option in options]
    return [figure["name"] for figure in figures if figure]


def test_the_record_has_every_figure_of_every_chapter():
    figures = json.loads(text_of("figures.json"))["figures"]
    recorded = {(figure["chapter"], figure["label"]) for figure in figures}
    drawn = {(chapter.stem, label) for chapter in CHAPTERS for label in figures_drawn_in(chapter)}
    assert recorded == drawn, "python -m tools.measure"
    assert all(figure["shows"] for figure in figures)


def test_what_the_record_cannot_mean_is_refused():
    page, record = text_of("reproducibility.md"), json.loads(text_of("figures.json"))
    figure = {"label": "fig-x", "shows": "x", "seed": 0, "evaluations": 1, "seconds": 1.0, "results": []}
    known = next(iter(record["seconds"]))
    with pytest.raises(ValueError, match="chapter nowhere, expected"):
        page_with_tables(page, record | {"figures": [figure | {"chapter": "nowhere"}]}, {})
    with pytest.raises(ValueError, match="expected some of"):
        page_with_tables(page, record | {"figures": [figure | {"chapter": known, "results": ["x"]}]}, {})
    with pytest.raises(ValueError, match="fields"):
        page_with_tables(page, record | {"figures": [figure]}, {})
    with pytest.raises(ValueError, match="marker"):
        page_with_tables(page.replace("% end of figures", ""), record, shipped())


def test_the_four_papers_come_first_in_the_references_and_every_citation_is_there():
    entries = list(parse_file(BOOK / "references.bib").entries)
    assert entries[:4] == PAPERS
    cited = {
        key
        for page in PAGES + CHAPTERS
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.read_text("utf-8"))
        for key in keys.replace(" ", "").split(",")
    }
    assert set(PAPERS) <= cited <= set(entries)


def test_every_label_to_cite_is_in_its_chapter():
    labels = re.findall(r"`(notebooks/\w+)\.html#(?:equation-)?([\w-]+)`", text_of("how_to_cite.md"))
    assert len(labels) >= 5
    for page, label in labels:
        chapter = (ROOT / f"{page}.md").read_text("utf-8")
        assert re.search(rf"(^:label: |\$\$ \(|^\(|^ +name: ){label}\)?(=|$)", chapter, flags=re.M), (
            f"{page} has no {label}"
        )


def test_the_schema_of_a_saved_profile_is_that_of_the_file(tmp_path):
    schema = json.loads(text_of("profile.schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    found = profile(pair, partition(pair, [0], [1]), log_snr=np.linspace(-6.0, 4.0, 5), samples=20)
    found.save(tmp_path / "profile.json")
    saved = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    jsonschema.validate(saved, schema)
    assert list(schema["properties"]) == schema["required"] == list(saved)
    for broken in ({"more": 0}, {"seed": "0"}, {"entropy": ["x"]}, {"peak": [1.0]}, {"certificate": [{}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(saved | broken, schema)


def test_the_title_to_cite_is_the_title_of_the_book():
    title = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"]
    assert f"{{{title}}}" in text_of("how_to_cite.md")


def test_no_page_carries_an_address_of_its_own():
    for page in PAGES:
        assert not re.search(r"https?://", page.read_text("utf-8")), page.name
