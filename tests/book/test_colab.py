"""The set-up cell, run where a Colab reader runs it: an empty folder, torch and diffusers there, the package not."""

import pytest

from tools import book, colab, editions


@pytest.fixture(scope="module")
def reader():
    with colab.reader() as someone:
        yield someone


def test_without_the_package_or_a_source_it_asks_for_one_in_one_line(reader):
    missing = reader.run("-c", "import torch, diffusers, companion")
    assert "No module named 'companion'" in missing.stderr
    asked = reader.run("-c", editions.setup_cell(), source="")
    if '"git+' not in editions.setup_cell():
        assert asked.returncode
        assert "COMPANION_SOURCE" in asked.stderr
        assert len(asked.stderr.strip().splitlines()) == 1


def test_what_hides_the_package_is_no_package(reader):
    """A folder of its name beside the notebook, with nothing of it inside, and then another package of that name."""
    folder = reader.folder / "companion"
    folder.mkdir()
    asked = reader.run("-c", editions.setup_cell(), source="git+file:///nowhere")
    assert asked.stderr.splitlines()[-1] == "companion could not be installed from git+file:///nowhere"
    (folder / "__init__.py").write_text("", encoding="utf-8")
    asked = reader.run("-c", editions.setup_cell(), source="git+file:///nowhere")
    said = "hides the package companion: rename it, or work in another folder"
    assert asked.stderr == f"{folder / '__init__.py'} {said}\n"
    (folder / "__init__.py").unlink()


@pytest.mark.slow
def test_it_installs_the_package_alone_and_the_package_imports(reader):
    """Also beside an empty folder of its name, which the test above leaves."""
    before = reader.installed()
    (reader.folder / "companion").mkdir(exist_ok=True)
    done = reader.run("-c", f"{editions.setup_cell()}\nimport companion.forward\nprint(companion.__file__)")
    assert done.returncode == 0, done.stderr
    assert str(reader.python.parent.parent) in done.stdout
    assert {name.split("-")[0] for name in reader.installed() - before} == {"companion"}
    assert before <= reader.installed()
    package = reader.python.parent.parent.glob("lib/*/site-packages/companion")
    missing = _files(book.ROOT / "companion") - _files(next(package))
    assert not missing, "weights and result files ship with the package: see package-data in pyproject.toml"


def _files(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"}
