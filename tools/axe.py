"""Axe's rules on an opened page, in light and in dark: what a reader with a screen reader or weak eyes cannot use.

The rules are those of WCAG 2.0 and 2.1, levels A and AA, and axe's best practices. A formula counts as a letter in the
colour of its place, for what MathJax makes of it is MathJax's; of all words of code in one colour on one ground the
first is looked at. A page has some thousand elements of either.
"""

from typing import Any

from tools.chromium import Visit

__all__ = ["violations"]

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_COLOURS = ["color-contrast", "link-in-text-block"]  # all that depends on the scheme

# Everything is open, for what is folded away is not looked at, and at rest, for what fades in is pale.
_READY = """
document.head.append(Object.assign(document.createElement('style'), {
  textContent: '* { transition: none !important; animation: none !important }' }));
for (const box of document.querySelectorAll('details')) box.open = true;
for (const button of document.querySelectorAll('.toggle-button-hidden')) button.click();
for (const formula of document.querySelectorAll('mjx-container')) formula.replaceWith('x');
const seen = new Set();
for (const word of document.querySelectorAll('.highlight span[class]')) {
  const ground = word.closest('.cell_input, .cell_output, .citable, .admonition, dd, article, body').className;
  if (seen.has(word.className + ground)) word.replaceWith(...word.childNodes);
  seen.add(word.className + ground);
}
"""


def violations(opened: Visit) -> list[str]:
    """What breaks a rule, a line each; the page is not to be used after it."""
    from axe_playwright_python.sync_playwright import Axe  # here: a command that opens no page does not wait for it

    opened.page.evaluate(_READY)
    found = []
    for scheme, rules in (("light", _RULES), ("dark", _COLOURS)):
        opened.colour(scheme)
        options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
        said: dict[str, Any] = Axe().run(opened.page, options=options).response
        for broken in said["violations"]:
            for node in broken["nodes"]:
                why = [*node["any"], *node["all"], *node["none"]][0]["message"]
                found.append(f"{scheme}: {broken['id']}: {node['html'][:160]}: {why}")
    return found
