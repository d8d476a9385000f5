"""Which small slips in the package its tests let pass: `python benchmarks/mutation.py`, in the environment of the
tests and after `python -m uv pip install --group mutation`.

A slip is one change that cosmic-ray makes: an operator, a number, a comparison, a condition, a loop without turns, a
decorator left out. Annotations, protocols, formatted text and what a `raise` says compute nothing and are left alone;
`is` and the operators of whole numbers are exchanged among themselves. From each module of forward, guidance, exact,
models and estimate a seeded sample is drawn that depends on that module alone; rare kinds are drawn more often than
they occur.

Everything happens in clones of HEAD in a temporary folder: this checkout is not touched, and what is not committed is
not tried. First all tests run once under coverage, which tells the tests that run a line, and their seconds. Then each
slip meets tests until one fails: those of the module's own file (of its name, or the one that runs the line most
often), then whatever else runs the module, first what runs the line, the cheapest first, until they have cost CAP.
They run in a fork of a process that has imported the heavy libraries and nothing of ours. An endless loop is ended and
counts as refused. At the end the tests that refused a slip run once more in such a fork on the unchanged code, and must
pass.

An hour on two cores is expected. A run that was broken off goes on where it was, and a later one tries what is new and
what survived without a proof; what is known of slips and tests lies in _build/mutation. Writes
benchmarks/results/mutation.json, and ends with status 1 while a survivor is not proved equivalent, by an entry of
benchmarks/mutation_equivalent.json. With modules named (companion/forward.py) it tries these and writes nothing.
"""

import argparse
import ast
import gc
import hashlib
import importlib
import itertools
import json
import math
import multiprocessing
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEED, LEAST, WORKERS = 0, 10, 2
CAP, PATIENCE, MEMORY = 120.0, 90.0, 12 << 30  # a slip has PATIENCE seconds and three times what tests cost
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutation.json"
EQUIVALENT = ROOT / "benchmarks" / "mutation_equivalent.json"
CACHE = ROOT / "_build" / "mutation"
MODULES = ["companion/forward.py", "companion/guidance.py", "companion/exact", "companion/models", "companion/estimate"]
TESTS = ["companion", "tests/*.py", "tests/exact", "tests/models", "tests/estimate", "tests/derivations"]
HEAVY = ("pytest", "hypothesis", "scipy.stats", "scipy.integrate", "scipy.differentiate", "torch", "torch.distributed")
HEAVY += ("torch.utils.flop_counter", "matplotlib.pyplot", "sympy", "sklearn.datasets", "transformers", "diffusers")
CLASSES = ("UNet2DModel", "DiTTransformer2DModel", "DiffusionPipeline")  # diffusers imports what is asked for
SETTINGS = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
APART = ({"RShift", "LShift", "BitOr", "BitAnd", "BitXor"}, {"Is", "IsNot"})
ALWAYS = ("tests/test_records.py",)  # looks at what no test runs
Place = tuple[int, int]
VERDICTS = ("killed", "timed out", "survived")


@dataclass(frozen=True)
class Slip:
    """One change of one file: the line where it begins, the lines before and after, and the file's new text."""

    file: str
    operator: str
    line: int
    before: str
    after: str
    code: str

    @property
    def known(self) -> Path:
        """Where it is written what became of it."""
        return CACHE / f"{hashlib.sha256(f'{self.file} {self.code}'.encode()).hexdigest()[:20]}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", default=MODULES)
    parser.add_argument("--least", type=int, default=LEAST, help=f"slips a module, {LEAST} when nothing is said")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    CACHE.mkdir(parents=True, exist_ok=True)
    os.environ |= SETTINGS
    temporary = Path(tempfile.mkdtemp(prefix="mutation-"))
    try:
        tree = clone(temporary)
        found = (sorted(top.rglob("*.py")) if top.is_dir() else [top] for top in map(tree.joinpath, asked.modules))
        files = [str(path.relative_to(tree)) for path in itertools.chain(*found)]
        slips = [slip for file in files for slip in slips_of(file, (tree / file).read_text("utf-8"), asked.least)]
        for name in HEAVY:
            library = importlib.import_module(name)
            _ = [getattr(library, each) for each in CLASSES if name == "diffusers"]
        gc.freeze()  # a fork's collector does not walk through what the libraries made
        covered = cover(tree, files)
        proofs = proved()
        known = {slip: read(slip.known) for slip in slips if slip.known.exists()}
        refused = {slip for slip, result in known.items() if result["verdict"] != "survived"}
        left = [slip for slip in slips if slip not in refused and not (slip in known and key(known[slip]) in proofs)]
        random.Random(SEED).shuffle(left)  # no worker has all of a slow module
        print(f"{len(slips)} slips, {len(slips) - len(left)} of them known", flush=True)
        with multiprocessing.get_context("fork").Pool(WORKERS, enter, [temporary]) as pool:
            for slip, result in pool.imap_unordered(tried, ((slip, ways(slip, covered, tree)) for slip in left)):
                write(slip.known, result)
                print(f"{result['verdict']:9s} {result['seconds']:6.1f} s  {slip.file}:{slip.line}", flush=True)
        results = [read(slip.known) for slip in slips]
        refusing = Chosen(sorted({result["by"] for result in results if "::" in result["by"]}))
        if forked(lambda: run_tests(tree, refusing), CACHE / "control.log"):
            print(f"A test that refused a slip fails on the unchanged code too, see {CACHE / 'control.log'}")
            return 1
        return report(results, shipped=asked.modules == MODULES)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clone(folder: Path) -> Path:
    tree = folder / f"tree-{os.getpid()}"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(tree)], check=True)
    return tree


def slips_of(file: str, source: str, count: int) -> list[Slip]:
    """So many slips of one file, or all; a kind is drawn in proportion to the square root of what it has left."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    nodes, left_out, provider = list(ast_nodes(get_ast(source))), no_code(source), OperatorProvider()
    possible: dict[str, list[tuple[str, int]]] = {}
    for name in provider:
        kind, *exchanged = name.split("_")
        if provider[name].arguments() or any(0 < len(group & set(exchanged)) < len(exchanged) for group in APART):
            continue
        at = ((node, start) for node in nodes for start, _ in provider[name]().mutation_positions(node))
        for occurrence, (node, start) in enumerate(at):
            bare = node.type == "operator" and node.parent.type in ("parameters", "lambdef")  # the star of f(*, a)
            if not bare and not any(first <= start < last for first, last in left_out):
                possible.setdefault(kind, []).append((name, occurrence))
    draw, chosen = random.Random(f"{SEED} {file}"), dict[str, Slip]()
    while any(possible.values()) and len(chosen) < count:
        kind = draw.choices(list(possible), [math.sqrt(len(each)) for each in possible.values()])[0]
        name, occurrence = possible[kind].pop(draw.randrange(len(possible[kind])))
        code = mutate_code(source, provider[name](), occurrence)
        if compiles(code):
            old, new = source.split("\n"), code.split("\n")
            start = same(old, new)
            end = same(old[start:][::-1], new[start:][::-1])
            before, after = ("\n".join(lines[start : len(lines) - end]) for lines in (old, new))
            chosen[code] = Slip(file, name, start + 1, before, after, code)
    return list(chosen.values())


def same(old: list[str], new: list[str]) -> int:
    """How many lines are the same before the first that is not."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def compiles(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(code, "slip", "exec")
    except (SyntaxError, SyntaxWarning):
        return False
    return True


def no_code(source: str) -> list[tuple[Place, Place]]:
    """Where stands what computes nothing: from (line, column) to (line, column)."""
    found: list[Any] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg() | ast.AnnAssign():
                found.append(node.annotation)
            case ast.FunctionDef():
                found.append(node.returns)
            case ast.JoinedStr() | ast.Raise() | ast.ImportFrom():
                found.append(node)
            case ast.ClassDef() if any("Protocol" in ast.unparse(base) for base in node.bases):
                found.append(node)
            case ast.If() if "TYPE_CHECKING" in ast.unparse(node.test):
                found.append(node)
    lines = [line.encode() for line in source.split("\n")]

    def place(line: int, column: int) -> Place:
        return line, len(lines[line - 1][:column].decode())

    return [(place(a.lineno, a.col_offset), place(a.end_lineno, a.end_col_offset)) for a in found if a is not None]


class Chosen:
    """Of what pytest collects the tests `first`, in that order, and all of the files `whole`; notes what happens."""

    def __init__(self, first: list[str], whole: tuple[str, ...] = (), without: list[str] | None = None) -> None:
        self.first, self.whole, self.without = first, whole, without or []
        self.failed, self.seconds = list[str](), Counter[str]()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        ranks = {test: rank for rank, test in enumerate(self.first)}
        items[:] = [each for each in items if each.nodeid in ranks or each.nodeid.startswith(self.whole)]
        items[:] = [each for each in items if each.nodeid not in self.without]
        items.sort(key=lambda each: ranks.get(each.nodeid, len(ranks)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        self.failed += [report.nodeid] if report.failed else []

    def pytest_collectreport(self, report: Any) -> None:
        self.failed += [f"import of {report.nodeid}"] if report.failed else []


def run_tests(tree: Path, chosen: Chosen, *options: str) -> int:
    """pytest's status in this process, a fork that has nothing of ours imported."""
    import pytest

    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True  # two slips of one second and one length would share their bytecode
    found = importlib.util.find_spec("companion")
    assert found is not None and Path(str(found.origin)).is_relative_to(tree), found
    files = dict.fromkeys([*chosen.whole, *(test.split("::")[0] for test in chosen.first)])
    quiet = ("-q", "--tb=short", "-W", "ignore::pytest.PytestAssertRewriteWarning", f"--basetemp={tree}.files")
    return int(pytest.main([*quiet, *options, *files], plugins=[chosen]))


def forked(work: Callable[[], int], log: Path, seconds: float = math.inf) -> int | None:
    """The status of `work` in a fork that is a session of its own, None when it took too long."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            with log.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    ended, deadline = 0, time.monotonic() + seconds
    try:
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
            ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    finally:
        if not ended:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def cover(tree: Path, files: list[str]) -> dict[str, Any]:
    """The tests that run each line of the package, and the seconds of each test that passes.

    Measured when a module has none of it yet. Of a module that changed since it only chooses and orders tests: what
    it misses may leave a survivor, and refuses nothing.
    """
    import coverage

    kept = CACHE / "cover.json"
    if kept.exists() and read(kept)["lines"].keys() >= set(files):
        return dict(read(kept))
    print("All tests under coverage", flush=True)
    os.environ["COVERAGE_FILE"] = str(CACHE / "coverage")
    found = (sorted(top.rglob("*.py")) if top.is_dir() else [top] for each in TESTS for top in tree.glob(each))
    chosen = Chosen([], tuple(str(path.relative_to(tree)) for path in itertools.chain(*found)))

    def work() -> int:
        options = ("-n", str(WORKERS), "--cov=companion", "--cov-context=test", "--cov-report=")
        run_tests(tree, chosen, *options, "-W", "ignore::coverage.exceptions.CoverageWarning")
        data = coverage.CoverageData(os.environ["COVERAGE_FILE"])
        data.read()
        lines = {
            str(Path(file).relative_to(tree)): {
                line: sorted({each.rpartition("|")[0] for each in contexts} - {"", *chosen.failed})
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        write(kept, {"lines": lines, "seconds": chosen.seconds, "failed": chosen.failed})
        return 0

    if forked(work, CACHE / "cover.log"):
        sys.exit(f"The tests could not be run under coverage, see {CACHE / 'cover.log'}")
    covered = dict(read(kept))
    print(f"{len(covered['seconds'])} tests; not used, for they fail: {', '.join(covered['failed']) or 'none'}")
    return covered


def ways(slip: Slip, covered: dict[str, Any], tree: Path) -> list[tuple[Chosen, float]]:
    """The tests of the module's own file, then the others up to the cap, each with its seconds."""
    lines = {int(line): set(tests) for line, tests in covered["lines"].get(slip.file, {}).items()}
    module, seconds = set[str]().union(*lines.values()), covered["seconds"]
    changed = range(slip.line, slip.line + slip.before.count("\n") + 1)
    direct = set[str]().union(*(lines.get(line, ()) for line in changed)) or module
    files = Counter(test.split("::")[0] for test in direct if not test.startswith("companion"))
    named = [str(path.relative_to(tree)) for path in tree.glob(f"tests/**/test_{Path(slip.file).stem}.py")]
    own = (*(named or [file for file, _ in files.most_common(1)]), slip.file)
    tests = sorted(module, key=lambda test: (test not in direct, seconds[test]))
    first, rest = ([test for test in tests if test.startswith(own) is mine] for mine in (True, False))
    cost = itertools.accumulate(seconds[test] for test in rest)
    rest = [test for test, so_far in zip(rest, cost, strict=True) if so_far <= CAP]
    own_seconds = sum(each for test, each in seconds.items() if test.startswith(own))
    return [(Chosen(first, own, covered["failed"]), own_seconds), (Chosen(rest, ALWAYS), CAP)]


def enter(folder: Path) -> None:
    """A worker's own clone."""
    global TREE
    TREE = clone(folder)


def tried(task: tuple[Slip, list[tuple[Chosen, float]]]) -> tuple[Slip, dict[str, Any]]:
    """What becomes of a slip in this worker's clone, and which test refuses it."""
    slip, runs = task
    path, note, started = TREE / slip.file, CACHE / f"{TREE.name}.note", time.monotonic()
    original, verdict, by = path.read_text("utf-8"), "survived", ""
    path.write_text(slip.code, "utf-8")
    for chosen, expected in runs:

        def work(chosen: Chosen = chosen) -> int:
            status = run_tests(TREE, chosen, "-x")
            write(note, chosen.failed)
            return status

        write(note, [])
        status = forked(work, CACHE / f"{TREE.name}.log", PATIENCE + 3.0 * expected)
        if status == 4:
            raise RuntimeError(f"pytest did not find {chosen.whole} or {chosen.first}")
        if status not in (0, 5):  # 5 is no test at all
            verdict = "timed out" if status is None else "killed"
            by = "".join(read(note)[:1]) or f"status {status}"
            break
    path.write_text(original, "utf-8")
    what = {key: getattr(slip, key) for key in ("file", "line", "operator", "before", "after")}
    return slip, what | {"verdict": verdict, "by": by, "seconds": round(time.monotonic() - started, 1)}


def key(slip: dict[str, Any]) -> tuple[str, str, str]:
    return slip["file"], slip["before"].strip(), slip["after"].strip()


def proved() -> dict[tuple[str, str, str], str]:
    """The slips that change nothing, and why."""
    return {key(each): each["why"] for each in read(EQUIVALENT)}


def report(results: list[dict[str, Any]], shipped: bool) -> int:
    """Prints each module's count and each survivor, and writes both if all modules were asked."""
    proofs = proved()
    counts = dict[str, Counter[str]]()
    for each in results:
        counts.setdefault(each["file"], Counter())[each["verdict"]] += 1
    survivors = [
        {key: each[key] for key in ("file", "line", "operator", "before", "after")}
        | {"equivalent": proofs.get(key(each), "")}
        for each in results
        if each["verdict"] == "survived"
    ]
    for file, count in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        print(f"{file:44s}" + ", ".join(f"{count[verdict]:4d} {verdict}" for verdict in VERDICTS))
    for each in survivors:
        print(f"\n{each['file']}:{each['line']} {each['operator']}\n- {each['before']}\n+ {each['after']}")
        print(each["equivalent"] or "NOT PROVED EQUIVALENT")
    if shipped:
        versions = {"python": platform.python_version(), "cosmic-ray": version("cosmic-ray")}
        kinds = Counter(result["operator"].split("_")[0] for result in results)
        origin = {"command": "python benchmarks/mutation.py", "seed": SEED, "versions": versions, "slips": len(results)}
        write(RESULTS, origin | {"kinds": kinds, "modules": counts, "survivors": survivors})
    return int(any(not each["equivalent"] for each in survivors))


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    whole = path.with_suffix(f".{os.getpid()}")
    whole.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    whole.replace(path)


if __name__ == "__main__":
    sys.exit(main())
