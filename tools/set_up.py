"""Makes the virtual environment `.venv` from the lock, once; runs under a bare Python, so it needs nothing but it.

What can go wrong on a reader's machine (no network, a full disk) ends in one sentence; pip's own words are kept in
`.cache/install.log`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / ".cache" / "install.log"
SPACE = 3.0e9  # bytes: the locked packages unpacked, and the largest wheel beside them while it is unpacked


def main() -> None:
    """Does nothing when the lock, the package's metadata, the Python and the folder are those of the last run."""
    lock = _stamp("requirements.txt")
    package = _stamp("pyproject.toml")
    if not _made(lock):
        _check_space()
        print("Installing the locked packages into .venv (2 GB, 6 with CUDA; a few minutes, once) ...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        venv.create(VENV, with_pip=True)
        _pip("install", "--requirement", "requirements.txt")
        # The first import of matplotlib lists the fonts and says so on stderr: here, not inside a chapter.
        subprocess.run([_python(), "-c", "import matplotlib.font_manager"], check=True, stderr=subprocess.DEVNULL)
        (VENV / lock).touch()
    if not _made(package):
        _pip("install", "--no-deps", "--no-build-isolation", "--editable", ".")
        (VENV / package).touch()


def explain(output: str) -> str:
    """One sentence for what stopped an installation, from pip's output."""
    if "No space left on device" in output or "Errno 28" in output:
        return "The disk is full: free 3 GB (7 where torch comes with CUDA) and run the command again."
    offline = ("NewConnectionError", "NameResolutionError", "name resolution", "ConnectTimeout", "Connection refused")
    if any(sign in output for sign in (*offline, "ProxyError", "Network is unreachable", "Read timed out")):
        return "The packages could not be downloaded: check the network connection and run the command again."
    if "No matching distribution found" in output:
        return "A locked package has no build for this Python and machine; try Python 3.11 on Linux or macOS."
    return "The packages could not be installed."


def _stamp(file: str) -> str:
    facts = [(ROOT / file).read_text(encoding="utf-8"), str(ROOT), str(sys.version_info[:2])]
    return f"made-{Path(file).stem}-{hashlib.sha256(chr(0).join(facts).encode()).hexdigest()[:16]}"


def _made(stamp: str) -> bool:
    return (VENV / stamp).exists() and Path(_python()).exists()


def _python() -> str:
    return str(VENV / "bin" / "python")


def _check_space() -> None:
    free = shutil.disk_usage(ROOT).free
    if VENV.exists():
        free += sum(file.lstat().st_size for file in VENV.rglob("*") if file.is_file())
    if free < SPACE:
        sys.exit(f"The disk is too full: the packages need 3 GB and {free / 1e9:.1f} GB are free in {ROOT}.")


def _pip(*arguments: str) -> None:
    LOG.parent.mkdir(exist_ok=True)
    command = [_python(), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    with LOG.open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        output = LOG.read_text(encoding="utf-8", errors="replace")
        sys.exit(f"{explain(output)} (Details: {LOG.relative_to(ROOT)})")


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; run the command again to go on.")
    except OSError as error:
        sys.exit(explain(str(error)) if error.errno == 28 else f"The environment could not be made: {error}.")
    except subprocess.CalledProcessError as error:
        sys.exit(explain("No space left on device" if shutil.disk_usage(ROOT).free < 1e8 else str(error)))
