"""The address of the published repository: written once, in `_config.yml`, and from there into all that needs it.

The address at which the built pages are read goes the same way. README and CITATION.cff are made from the text around
two marks or a key; the Colab edition of every chapter and codemeta.json are written by `tools.editions`. While the
address is empty there is no badge, no button and no link, so nothing leads nowhere.
"""

import re
import subprocess
import sys
from pathlib import Path

from tools import book

__all__ = ["citation", "config", "readme", "write"]

_ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
_SETTINGS = re.compile(r"(?<=# address: begin\n).*?(?=  # address: end)", re.DOTALL)
_HOME = re.compile(r'(?<=\n  baseurl: )"[^"\n]*"')
_BADGES = re.compile(r"(?<=<!-- address: begin -->\n).*?(?=<!-- address: end -->)", re.DOTALL)


def write(url: str = "", home: str = "") -> None:
    """Sets the address and that of the built pages, or takes them away when empty, and writes what carries them."""
    url = url.strip().removesuffix("/").removesuffix(".git")
    if url and not _ADDRESS.fullmatch(url):
        raise ValueError(
            f"URL is {url}, expected https://github.com/OWNER/NAME (Colab opens notebooks from there only)"
        )
    if home and not re.fullmatch(r"https://[^\s\"]+", home):
        raise ValueError(f"PAGES is {home}, expected the https address at which the built pages are read")
    _rewrite(book.ROOT / "_config.yml", config(_read("_config.yml"), url, home.rstrip("/")))
    # A fresh process reads the new settings; this one has the old ones in memory.
    subprocess.run([sys.executable, "-m", "tools.address"], cwd=book.ROOT, check=True)


def config(text: str, url: str, home: str) -> str:
    """The settings with those addresses; buttons are on exactly when there is one of the repository."""
    on = "true" if url else "false"
    colab = "https://colab.research.google.com" if url else ""
    text = _HOME.sub(f'"{home}"', text)
    return _SETTINGS.sub(
        f'repository:\n  url: "{url}"\n  branch: main\n  path_to_book: ""\n'
        f'launch_buttons:\n  colab_url: "{colab}"\n'
        f"html:\n  use_repository_button: {on}\n  use_edit_page_button: {on}\n",
        text,
    )


def readme(text: str) -> str:
    """The README with a Colab link for each chapter, or with one sentence while there is no address."""
    if not book.address():
        return _BADGES.sub("Not published yet: the links appear here with `make address URL=...`.\n", text)
    repository = book.address().removeprefix("https://github.com/")
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    lines = [
        f"- {page.title} [![Open in Colab]({badge})](https://colab.research.google.com/github/{repository}"
        f"/blob/{book.branch()}/{page.path}.ipynb)"
        for page in book.chapters()
    ]
    return _BADGES.sub("\n".join(lines) + "\n", text)


def citation(text: str) -> str:
    """CITATION.cff with the address, or without its key."""
    text = re.sub(r"^repository-code:.*\n", "", text, flags=re.MULTILINE)
    return text + f'repository-code: "{book.address()}"\n' if book.address() else text


def _read(name: str) -> str:
    return (book.ROOT / name).read_text(encoding="utf-8")


def _rewrite(file: Path, text: str) -> None:
    if file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
        print(f"{file.relative_to(book.ROOT)} written")


if __name__ == "__main__":
    from tools import editions

    _rewrite(book.ROOT / "README.md", readme(_read("README.md")))
    _rewrite(book.ROOT / "CITATION.cff", citation(_read("CITATION.cff")))
    for path in editions.write():
        print(f"{path} written")
