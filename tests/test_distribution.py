"""What a package index gets: both archives build, their metadata hold, and the wheel works where nothing else is."""

import subprocess
import sys

import pytest

from tools import book, colab

# Every example in the docstring of every public name, run where only the installed package is to be found.
EXAMPLES = """
import doctest, sys, companion
runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder(exclude_empty=False)
for name in companion.__all__:
    found = getattr(companion, name)
    for case in finder.find(found, name, globs=dict(vars(sys.modules[found.__module__]))):
        runner.run(case)
print(runner.summarize(verbose=False), companion.__file__)
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive and the wheel that is built from it, in a path with a space."""
    top = tmp_path_factory.mktemp("a copy")
    colab.copy_package(top / "source")
    run("build", "--no-isolation", "--outdir", top / "archives", top / "source")
    return sorted((top / "archives").iterdir())


@pytest.fixture(scope="module")
def reader(archives):
    with colab.reader() as someone:
        done = someone.run("-m", "pip", "install", "--quiet", "--no-deps", str(archives[0]))
        assert done.returncode == 0, done.stderr
        yield someone


def run(*command):
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_archives_have_the_metadata_that_an_index_asks_for(archives):
    assert [archive.name.split("-0")[0] for archive in archives] == ["diffusion_companion"] * 2
    assert run("twine", "check", "--strict", *archives).count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_has_every_file_of_both_packages(reader):
    for name in ("companion", "derivations"):
        installed = next(reader.python.parent.parent.glob(f"lib/*/site-packages/{name}"))
        assert not colab.files(book.ROOT / name) - colab.files(installed), "see package-data in pyproject.toml"


@pytest.mark.slow
def test_the_examples_of_the_public_names_run_from_the_wheel(reader):
    done = reader.run("-c", EXAMPLES)
    said = done.stdout.splitlines()[-1]
    assert said.startswith("TestResults(failed=0, attempted=") and "attempted=0" not in said, done.stdout
    assert str(reader.python.parent.parent) in said
