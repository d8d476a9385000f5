"""The set-up cell, run where a Colab reader runs it: an empty folder, torch and diffusers there, the package not."""

import shutil

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


def test_what_hides_a_package_is_no_package(reader):
    """A folder of its name beside the notebook, with nothing of it inside, and then another package of that name."""
    for name, part in (("companion", "forward.py"), ("derivations", "")):
        folder = reader.folder / name
        folder.mkdir()
        asked = reader.run("-c", editions.setup_cell(), source="git+file:///nowhere")
        assert asked.stderr.splitlines()[-1] == f"{name} could not be installed from git+file:///nowhere"
        (folder / "__init__.py").write_text("", encoding="utf-8")
        asked = reader.run("-c", editions.setup_cell(), source="git+file:///nowhere")
        said = f"hides the package {name}: rename it, or work in another folder"
        assert asked.stderr == f"{folder / '__init__.py'} {said}\n"
        (folder / (part or "__init__.py")).touch()  # the first is whole now: the second is asked for
    shutil.rmtree(reader.folder / "derivations")
    (reader.folder / "companion" / "forward.py").unlink()
    (reader.folder / "companion" / "__init__.py").unlink()


@pytest.mark.slow
def test_it_installs_the_package_alone_and_the_package_imports(reader):
    """Also beside an empty folder of its name, which the test above leaves."""
    before = reader.installed()
    (reader.folder / "companion").mkdir(exist_ok=True)
    cell = f"{editions.setup_cell()}\nimport companion.forward, derivations.kit.measured\n"
    done = reader.run("-c", f"{cell}print(companion.__file__)\nprint(derivations.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(reader.python.parent.parent)) == 2
    assert {name.split("-")[0] for name in reader.installed() - before} == {"diffusion_companion"}
    assert before <= reader.installed()


@pytest.mark.slow
def test_what_the_package_needs_and_the_machine_lacks_is_named_in_one_line(reader):
    hidden = "import sys\nsys.modules['sklearn'] = sys.modules['sympy'] = None\n"
    for name in ("companion", "derivations"):
        shutil.copytree(book.ROOT / name, reader.folder / name, dirs_exist_ok=True)
    asked = reader.run("-c", hidden + editions.setup_cell())
    assert asked.stderr == "The book also needs scikit-learn and sympy: run %pip install scikit-learn sympy\n"
