"""`make book`, `make test` and `make reader`: every chapter executed once, and the pages built from that one execution.

The chapters run through nbmake from their Colab edition, two at a time; what they put out is laid into jupyter-cache,
whose key is the code cells, and Jupyter Book finds it there under the text edition of the same chapter. Each full run
starts from an empty cache, because the cache does not see a change of the package.
"""

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from tools import address, book, chromium, colab, editions, figure_data, links, moved, pages, statements
from tools.book import ROOT
from tools.reproducibility import RECORD

RUN = ROOT / ".nbrun"
BUILD = ROOT / "_build"
HTML = BUILD / "html"
REPORT = RUN / "report.xml"
SECONDS = BUILD / "seconds.json"
STAMP = BUILD / "stamp"
SOURCES = (
    "_config.yml",
    "_static",
    "_toc.yml",
    "requirements.txt",
    "pyproject.toml",
    "book",
    "companion",
    "derivations",
    "notebooks",
    "tools",
)

# One thread a chapter: two chapters with as many threads as cores each take six times as long.
SETTINGS = {"OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}

# The arithmetic of other processors, as far as this one can do it: the oldest instructions, and sums cut into threads.
_OLDEST = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
KERNELS = {
    f"{name}-{threads}": {**settings, "OMP_NUM_THREADS": threads}
    for name, settings in {"oldest": _OLDEST, "avx2": _AVX2, "own": {}}.items()
    for threads in ("1", "2")
}
ADAPTERS = ("tests/test_guiders.py", *(f"tests/models/test_{name}.py" for name in ("adapters", "steps", "load")))
ADAPTERS += ("tests/derivations/when_words_take_hold/test_scenes_model.py",)
NETWORKS = ("tests/models", "tests/estimate", "tests/test_cli.py", "companion/models", "companion/estimate")

# import-linter's command has no name that `python -m` knows, and its script begins with a path that may have a space.
_FLOORS = "from importlinter.cli import lint_imports_command as lint; lint()"

# A chapter imports after its set-up cell, and how long a line may be is judged on the page.
_CHAPTER_RULES = ("--select=E,F,W,B,UP,NPY", "--ignore=E402,E501")


def make_book() -> None:
    """The pages, executed and built unless nothing changed; prints where they are and what each chapter took."""
    _bring_editions_up_to_date()
    fingerprint = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == fingerprint and HTML.exists():
        print("Nothing changed since the pages were built.")
    elif not _execute_and_build(fingerprint):
        sys.exit("The book was not built.")
    _print_seconds()
    print(f"\nOpen {HTML / 'index.html'}")


def make_test() -> None:
    """Lint, types, chapters, pages, then every test; pytest's own closing lines are the last."""
    for step, command in (
        ("lint", ["-m", "ruff", "check", "."]),
        ("lint of the chapters' code", ["-m", "ruff", "check", "--isolated", *_CHAPTER_RULES, *_notebooks()]),
        ("format", ["-m", "ruff", "format", "--check", "."]),
        ("types", ["-m", "mypy"]),
        ("floors", ["-c", _FLOORS, "--no-cache", "--no-logo"]),
    ):
        print(f"== {step}", flush=True)
        if _python(*command):
            sys.exit(f"{step} failed")
    built = _execute_and_build(_fingerprint())
    if REPORT.exists() and built:
        _print_seconds()
    print("== tests", flush=True)
    tests = _python("-m", "pytest", "-q", "-n", "2", "-rfEs", "--durations=5", BOOK_BUILT="1", MPLBACKEND="agg")
    sys.exit(tests or not built)


def make_reader() -> None:
    """The pages, what readers take with them, then the checks that take minutes and that `make test` leaves out."""
    from tools import downloads  # here: no other command waits for what reads and writes PDF

    make_book()
    print("== downloads", flush=True)
    sums = BUILD / "downloads" / downloads.SUMS
    if not sums.exists() or sums.stat().st_mtime < STAMP.stat().st_mtime:
        with chromium.browser() as running:
            downloads.write(running, HTML, sums.parent)
    shutil.copytree(sums.parent, HTML / "downloads", dirs_exist_ok=True)
    print("== checks that take minutes", flush=True)
    sys.exit(_python("-m", "pytest", "-q", "-rfEs", "--durations=5", "tests/reader", READER="1", MPLBACKEND="agg"))


def make_links() -> None:
    """Asks for every address outside the site that a built page links to; needs a network, and the pages."""
    if not HTML.exists():
        raise ValueError("There are no pages yet: run `make book` first.")
    sys.exit(links.check(links.leaving(HTML)) > 0)


def make_kernels(kernel: str = "", *tests: str) -> None:
    """The tests of networks, or some of them, under each kernel or under one; a line a kernel, and what failed."""
    if kernel and kernel not in KERNELS:
        raise ValueError(f"KERNEL is {kernel}, expected one of {', '.join(KERNELS)}")
    failures = 0
    for name in [kernel] if kernel else KERNELS:
        workers = "2" if name.endswith("1") else "1"  # more threads than cores wait for each other
        failures += _fails(f"kernel-{name}", "-n", workers, *(tests or NETWORKS), **KERNELS[name])
    sys.exit(failures)


def make_diffusers(version: str = "", *beside: str) -> None:
    """The tests of adapters and guiders under the oldest and the newest diffusers that the package takes, or under one.

    Each has an environment of its own in _build: the oldest of all that the package asks for, or the newest of it, but
    for what is named `beside` a version (transformers==4.57.6 for a diffusers that came before transformers 5).
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    asked += [f"{name}=={metadata.version(name)}" for name in ("pytest", "hypothesis")]
    failures = 0
    for name in [version] if version else ["oldest", "newest"]:
        environment = BUILD / f"diffusers-{name}"
        resolution = "lowest-direct" if name == "oldest" else "highest"
        # Elsewhere than in this folder, whose settings for the lock leave out what torch's CUDA build needs.
        settings = ["--directory", tempfile.gettempdir(), "--quiet", "--python", str(environment)]
        settings += ["--resolution", resolution]
        pinned = [] if name in ("oldest", "newest") else [f"diffusers=={name}", *beside]
        if _python("-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)) or _python(
            "-m", "uv", "pip", "install", *settings, *asked, *pinned
        ):
            raise ValueError(f"The packages for diffusers {name} could not be installed.")
        warn = "--override-ini=filterwarnings=default"  # other versions warn of other things
        failures += _fails(f"diffusers-{name}", warn, *ADAPTERS, executable=str(environment / "bin" / "python"))
    sys.exit(failures)


def _fails(name: str, *arguments: str, **settings: str) -> bool:
    """Whether pytest fails, in a line with its seconds, and in one for each test that failed; its log is in _build."""
    BUILD.mkdir(exist_ok=True)
    started, log = time.monotonic(), BUILD / f"{name}.log"
    with log.open("w", encoding="utf-8") as file:
        failed = bool(_python("-m", "pytest", "-q", *arguments, output=file, **settings))
    print(f"{name:16s} {'failed' if failed else 'passed'} {time.monotonic() - started:6.0f} s", flush=True)
    if failed:
        print("\n".join(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("FAILED")))
    return failed


def make_editions() -> None:
    """The Colab edition and the set-up cell of every chapter, and the record of every address."""
    changed = editions.write()
    moved.RECORD.write_text(moved.record(), encoding="utf-8")
    print("\n".join(changed) if changed else "Every edition is up to date.")


def make_lock() -> None:
    """Pins in requirements.txt what pyproject.toml asks for: today's versions where they still fit, and wheels only."""
    asked = ("pyproject.toml", "--all-extras", "--group", "pyproject.toml:book", "--group", "pyproject.toml:dev")
    settings = ("--output-file", "requirements.txt", "--only-binary", ":all:", "--no-annotate", "--quiet")
    sys.exit(_python("-m", "uv", "pip", "compile", *asked, *settings, UV_CUSTOM_COMPILE_COMMAND="make lock"))


def _notebooks() -> list[str]:
    return [f"{page.path}.ipynb" for page in book.chapters()]


def _bring_editions_up_to_date() -> None:
    for path in editions.write():
        print(f"{path} was out of date and was written again")


def _execute_and_build(fingerprint: str) -> bool:
    leftovers = (RUN, HTML, figure_data.FOLDER, *(BUILD / name for name in (".doctrees", ".jupyter_cache")))
    for leftover in (*leftovers, BUILD / "jupyter_execute"):
        shutil.rmtree(leftover, ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    built = _execute() and _build(fingerprint)
    if not built and shutil.disk_usage(ROOT).free < 5e7:
        sys.exit("The disk is full: make room and run the command again.")
    return built


def _execute() -> bool:
    print("== chapters, each executed once", flush=True)
    RUN.mkdir()
    for page in book.chapters():
        shutil.copy(page.source.with_suffix(".ipynb"), RUN)
    failed = _python(
        *("-m", "pytest", "-q", "--nbmake", "--overwrite", "--nbmake-timeout=600", "-n", "2", "-p", "no:doctest"),
        *("--override-ini=addopts=", "--override-ini=filterwarnings=", "-p", "no:cacheprovider"),
        *(f"--junit-xml={REPORT}", *(f".nbrun/{page.source.stem}.ipynb" for page in _longest_first())),
        IPYTHONDIR=figure_data.hook(RUN / "ipython"),
    )
    if failed:
        return False
    SECONDS.parent.mkdir(exist_ok=True)
    SECONDS.write_text(json.dumps(dict(_seconds()), indent=1) + "\n")
    cache = get_cache(BUILD / ".jupyter_cache")
    for page in book.chapters():
        executed = nbformat.read(RUN / f"{page.source.stem}.ipynb", as_version=4)
        for cell in executed.cells:
            cell.metadata.pop("execution", None)  # times of day, and part of the key
        figure_data.write(page, executed)
        cache.cache_notebook_bundle(CacheBundleIn(executed, str(page.source)), overwrite=True, check_validity=False)
    return True


def _longest_first() -> list[book.Page]:
    """The chapters by what they took when last measured, so that of two workers none is left with a long one alone."""
    measured = json.loads(RECORD.read_text(encoding="utf-8"))["seconds"]
    return sorted(book.chapters(), key=lambda page: measured.get(page.source.stem) or math.inf, reverse=True)


def _seconds() -> Iterator[tuple[str, float]]:
    for case in ElementTree.parse(REPORT).iter("testcase"):
        yield Path(case.get("name", "")).stem, round(float(case.get("time", "nan")), 1)


def _build(fingerprint: str) -> bool:
    print("== pages, warnings as errors", flush=True)
    started = time.monotonic()
    log = BUILD / "book.log"
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", ".", "-W", "-n", "--keep-going"]
    with log.open("w", encoding="utf-8") as file:
        # Through Python and not by its first line: a path with a space or of great length has no place in that.
        failed = _python(*command, output=file)
    said = log.read_text(encoding="utf-8", errors="replace")
    again = "Executed notebook in" in said
    if failed or again or not (HTML / "index.html").exists():
        signs = ("WARNING", "ERROR", "Error", "Exception", "Executed notebook in")
        print("\n".join(line for line in said.splitlines() if any(sign in line for sign in signs)) or said[-3000:])
        why = ": the editions of a chapter differ, run `make editions`" if again else ""
        print(f"The pages were not built{why}; see {log.relative_to(ROOT)}")
        return False
    pages.drop_unused(HTML)
    print(f"built in {time.monotonic() - started:.0f} s")
    STAMP.write_text(fingerprint)
    return True


def _print_seconds() -> None:
    seconds = json.loads(SECONDS.read_text())
    width = max(len(page.title) for page in book.chapters())
    print(f"\n{'chapter':{width}}  seconds")
    for page in book.chapters():
        print(f"{page.title:{width}}  {seconds[page.source.stem]:7.1f}")


def _fingerprint() -> str:
    """One hash of everything that the pages depend on: text, code, weights, lock, settings, and the tests they name."""
    digest = hashlib.sha256(repr(statements.named_tests()).encode())
    for source in SOURCES:
        top = ROOT / source
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _python(
    *arguments: str, output: IO[str] | None = None, executable: str = sys.executable, **environment: str
) -> int:
    """Runs this Python, or another, with the settings of every run, and returns its exit status."""
    settings = {**os.environ, **SETTINGS, **environment}
    settings["PATH"] = f"{Path(executable).parent}{os.pathsep}{settings.get('PATH', '')}"
    errors = subprocess.STDOUT if output else None
    return subprocess.run([executable, *arguments], cwd=ROOT, env=settings, stdout=output, stderr=errors).returncode


COMMANDS: dict[str, Callable[..., None]] = {
    "book": make_book,
    "test": make_test,
    "reader": make_reader,
    "links": make_links,
    "kernels": make_kernels,
    "diffusers": make_diffusers,
    "editions": make_editions,
    "address": address.write,
    "lock": make_lock,
    "colab": colab.run_chapters,
    "screenshots": lambda: pages.screenshots(HTML),
}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]](*sys.argv[2:])
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:
        sys.exit("The disk is full: make room and run the command again." if error.errno == 28 else str(error))
