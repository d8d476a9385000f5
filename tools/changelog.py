"""The changelog and the version say the same: `python -m tools.changelog v0.2.0` before a tag is published.

What is not released yet stands under `[Unreleased]`; below it one section a version, the newest first, each with the
day on which it came out. The newest is `companion.__version__`, and that of CITATION.cff and codemeta.json.
"""

import re
import sys

from packaging.version import Version

import companion
from tools.book import ROOT

__all__ = ["CHANGELOG", "main", "released", "sections"]

CHANGELOG = ROOT / "CHANGELOG.md"
_HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<day>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def sections(text: str) -> list[tuple[str, str]]:
    """The versions of a changelog with the day of each, the newest first; ValueError where order or a day is missing.

    >>> sections("## [Unreleased]\\n\\n## [0.2.0] - 2026-11-30\\n\\n## [0.1.0] - 2026-11-01\\n")
    [('0.2.0', '2026-11-30'), ('0.1.0', '2026-11-01')]
    """
    found = [(each["name"], each["day"]) for each in _HEADING.finditer(text)]
    if not found or found[0] != ("Unreleased", None):
        raise ValueError("the changelog does not begin with [Unreleased], without a day")
    versions = found[1:]
    for name, day in versions:
        if day is None:
            raise ValueError(f"[{name}] has no day: expected ## [{name}] - YYYY-MM-DD")
    if versions != sorted(versions, key=lambda each: (Version(each[0]), each[1]), reverse=True):
        raise ValueError(f"versions are not in order, the newest first: {', '.join(name for name, _ in versions)}")
    return versions


def released(tag: str, text: str) -> str:
    """The section that a tag publishes; ValueError if it is not that of the version, or something is unreleased."""
    newest = sections(text)[0][0]
    if not tag == f"v{companion.__version__}" == f"v{newest}":
        raise ValueError(f"the tag is {tag}, the package {companion.__version__}, the changelog's newest {newest}")
    _, unreleased, section, *_ = _HEADING.split(text)[::3]
    if unreleased.strip():
        raise ValueError("something stands under [Unreleased]: it belongs to a version before a tag")
    return section.strip()


def main(tag: str) -> int:
    """Prints what the tag publishes; 1 with one line when it does not fit."""
    try:
        print(released(tag, CHANGELOG.read_text(encoding="utf-8")))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
