"""`codemeta.json`, for programs that look for software; written by `make editions`, from CITATION.cff and pyproject."""

import json
import tomllib
from typing import Any

import yaml

from tools import book
from tools.changelog import CHANGELOG, sections

__all__ = ["FILE", "codemeta", "written"]

FILE = book.ROOT / "codemeta.json"
_LICENSES = "https://spdx.org/licenses/"


def written() -> str:
    """The file as it should be."""
    citation = yaml.safe_load((book.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((book.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    day = sections(CHANGELOG.read_text(encoding="utf-8"))[0][1]
    return json.dumps(codemeta(citation, project, day), indent=2, ensure_ascii=False) + "\n"


def codemeta(citation: dict[str, Any], project: dict[str, Any], day: str) -> dict[str, Any]:
    """What a citation file and a project say, in the words of CodeMeta 3.0; addresses only where there are some."""
    described = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": citation["title"],
        "identifier": project["name"],
        "description": citation["abstract"],
        "version": citation["version"],
        "datePublished": day,
        "author": [{"@type": "Organization", "name": author["name"]} for author in citation["authors"]],
        "license": [f"{_LICENSES}{name}" for name in citation["license"]],
        "keywords": citation["keywords"],
        "programmingLanguage": {"@type": "ComputerLanguage", "name": "Python", "version": project["requires-python"]},
        "softwareRequirements": project["dependencies"],
        "referencePublication": [
            {
                "@type": "ScholarlyArticle",
                "name": work["title"],
                "author": [
                    {"@type": "Person", "familyName": author["family-names"], "givenName": author["given-names"]}
                    for author in work["authors"]
                ],
                "datePublished": str(work["year"]),
                "url": work["url"],
            }
            for work in citation["references"]
        ],
    }
    if "repository-code" in citation:
        described["codeRepository"] = citation["repository-code"]
    if book.home():
        described["softwareHelp"] = book.home()
    return described
