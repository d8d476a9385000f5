"""A chapter as a Colab reader meets it: its .ipynb alone in an empty folder; torch and diffusers, but not the package.

The environment is the locked one seen through links, without `companion`, or one with the versions of a list such as
Colab publishes. The set-up cell installs the package into it from a git repository made of the working tree, named by
COMPANION_SOURCE.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tools import book

__all__ = ["Reader", "constraints", "copy_package", "files", "reader", "run_chapters"]

_EXECUTE = """
import sys, nbclient, nbformat
nbclient.NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=600).execute()
"""
_RUNS_CHAPTERS = ("ipykernel", "nbclient", "nbformat", "pip", "setuptools")
_PACKAGE = ("companion", "derivations", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Reader:
    """An empty folder, a Python without the package, and a git repository that holds it."""

    folder: Path
    python: Path
    source: str

    def run(self, *arguments: str, source: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs that Python in the folder with COMPANION_SOURCE set, and nothing of ours in its environment."""
        ours = ("PYTHONPATH", "COMPANION_SOURCE", "VIRTUAL_ENV", "PYTHONHOME")
        environment = {key: value for key, value in os.environ.items() if key not in ours}
        environment |= {
            "COMPANION_SOURCE": self.source if source is None else source,
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "OMP_NUM_THREADS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "no isolation": setuptools is in the environment already
        }
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self) -> set[str]:
        """The distributions of that Python, by the names of their folders."""
        return {path.name for path in _site_packages(self.python.parent.parent).glob("*.dist-info")}


@contextmanager
def reader(packages: Path | None = None) -> Iterator[Reader]:
    """Makes such a reader, who sees these packages or else the locked ones; takes everything away afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        venv.create(top / "environment", with_pip=False, symlinks=True)
        site_packages = _site_packages(top / "environment")
        for entry in (packages or Path(sysconfig.get_path("purelib"))).iterdir():
            if "companion" not in entry.name.lower() and "__pycache__" not in entry.name:
                (site_packages / entry.name).symlink_to(entry)
        repository = top / "repository"
        copy_package(repository)
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "state"]):
            identity = ["-c", "user.name=reader", "-c", "user.email=reader@localhost", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *arguments], cwd=repository, check=True)
        folder = top / "empty"
        folder.mkdir()
        python = top / "environment" / "bin" / "python"
        yield Reader(folder, python, f"git+{repository.as_uri()}")


def copy_package(folder: Path) -> None:
    """What is needed to build and install the package, in a new folder."""
    folder.mkdir()
    for source in (book.ROOT / name for name in _PACKAGE):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def files(folder: Path) -> set[str]:
    """Every file below a folder that is shipped."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {str(file.relative_to(folder)) for file in found}


def constraints(versions: str) -> list[str]:
    """A list of versions, as `pip freeze` prints it, without what lies on its machine's disk and without local builds.

    >>> constraints("torch==2.9.0+cu126\\njax @ file:///jax.whl\\nnumpy==2.0.2\\n")
    ['torch==2.9.0', 'numpy==2.0.2']
    """
    return [f"{name}=={version}" for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", versions, re.MULTILINE)]


def run_chapters(versions: str = "") -> None:
    """Runs every chapter whole as such a reader would, with the versions of a file if one is named; 1 if one fails."""
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        packages = _install(Path(versions), Path(temporary)) if versions else None
        for page in book.chapters():
            with reader(packages) as someone:
                shutil.copy(page.source.with_suffix(".ipynb"), someone.folder)
                done = someone.run("-c", _EXECUTE, f"{page.source.stem}.ipynb")
                failed |= bool(done.returncode)
                print(f"{page.title}: {'failed' if done.returncode else 'runs'}", flush=True)
                if done.returncode:
                    print(done.stderr[-2000:], file=sys.stderr)
    sys.exit(int(failed))


def _install(versions: Path, folder: Path) -> Path:
    """What the chapters need in an environment of its own, at these versions where they name it; its site-packages."""
    listed = constraints(versions.read_text(encoding="utf-8"))
    if not listed:
        raise ValueError(f"VERSIONS is {versions}, expected lines such as numpy==2.0.2")
    project = tomllib.loads((book.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    file, environment = folder / "constraints.txt", folder / "environment"
    file.write_text("\n".join(listed) + "\n", encoding="utf-8")
    uv = [sys.executable, "-m", "uv"]
    install = ["--directory", str(folder), "--python", str(environment), "--constraint", str(file)]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
        [*uv, "pip", "install", "--quiet", *install, *needed, *_RUNS_CHAPTERS],
    ):
        if subprocess.run(command, check=False).returncode:
            raise ValueError(f"What the chapters need could not be installed at the versions of {versions}.")
    return _site_packages(environment)


def _site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
