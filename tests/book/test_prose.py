"""What a Colab reader sees in place of the book's own markup."""

import pytest

from tools import book
from tools.prose import Prose

FIRST = book.chapters()[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plain *text* with $x_1$ and `code`.", "Plain *text* with $x_1$ and `code`."),
        ("Code keeps `\\E` and `{ref}`, $\\E x$ does not.", "Code keeps `\\E` and `{ref}`, $\\mathbb{E} x$ does not."),
        ("A price of \\$5 and \\$6.", "A price of \\$5 and \\$6."),
        ("{math}`\\E x`", "$\\mathbb{E} x$"),
        ("(a-place)=\nText.\n\n% a comment\n", "Text."),
        (":::{note}\nMind.\n:::", "> **Note**\n>\n> Mind."),
        ("```{admonition} Why\nMind.\n```", "> **Why**\n>\n> Mind."),
        ("::::{dropdown} Solution\n:::{tip}\nMind.\n:::\n::::", "> **Solution**\n>\n> > **Tip**\n> >\n> > Mind."),
        (":::{dropdown} Solution\n$$\na\n= b\n$$\n:::", "> **Solution**\n>\n> $$ a = b $$"),
        ("$$\na &= b \\\\\n&= c\n$$", "$$\n\\begin{aligned}\na &= b \\\\\n&= c\n\\end{aligned}\n$$"),
        ("```{prf:proof}\nClear.\n```", "*Proof.* Clear. $\\square$"),
        ("```python\n{ref}`x` $\\E$\n```", "```python\n{ref}`x` $\\E$\n```"),
        ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
        ("```{list-table}\n* - a\n  - b\n* - c\n  - d\n    e\n```", "| a | b |\n|---|---|\n| c | d e |"),
        ("[here](https://example.org/a_b)", "[here](https://example.org/a_b)"),
        ("{cite}`karras2022,ho2020`", "(Karras et al., 2022; Ho et al., 2020)"),
        ("{cite:t}`efron2011` and {cite:p}`raya2023`", "Efron (2011) and (Raya and Ambrogioni, 2023)"),
    ],
)
def test_markup_becomes_plain_markdown(text, shown):
    assert Prose(FIRST).markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("```{mermaid}\nx\n```", "mermaid"),
        ("{glue:text}`x`", "glue:text"),
        ("{ref}`there-is-no-such-label`", "there-is-no-such-label"),
        ("{doc}`/book/nowhere`", "/book/nowhere"),
        ("{cite}`nobody1900`", "nobody1900"),
        ("\\begin{align}\nx\n\\end{align}", "an equation outside"),
        ("Text.[^1]", "[^"),
        ("```{note}\nnever closed", "never closed"),
    ],
)
def test_what_cannot_be_shown_stops_with_its_name(text, named):
    with pytest.raises(ValueError) as caught:
        Prose(FIRST).markdown(text)
    assert named in str(caught.value)


def test_a_page_of_the_book_is_a_title_while_there_is_no_address_and_a_link_when_there_is():
    shown = Prose(FIRST).markdown("{doc}`/book/notation`, {doc}`here </book/notation>`")
    if book.address():
        link = f"{book.address()}/blob/{book.branch()}/book/notation.md"
        assert shown == f"[Notation]({link}), [here]({link})"
    else:
        assert shown == "Notation, here"


def test_a_widget_is_its_still_picture_and_what_to_see():
    shown = Prose(FIRST).markdown("```{widget} x\n---\nalt: A\n  hump.\n---\nLook at $\\E x$.\n```")
    picture, moves, see = shown.split("\n\n")
    if book.address():
        assert picture == f"![A hump.]({book.address()}/raw/{book.branch()}/book/widgets/x.png)"
    else:
        assert picture == "*Figure in the book: A hump.*"
    assert "n its page of the book" in moves and (f"{FIRST.path}.html#widget-x" in moves) == bool(book.home())
    assert see == "Look at $\\mathbb{E} x$."


def test_an_exercise_has_its_number_and_its_solution_leads_back(monkeypatch):
    exercise = book.Label(FIRST.path, "exercise", "1.2", "A group")
    monkeypatch.setattr(book, "labels", lambda: {"ex-a": exercise})
    text = ":::{exercise} A group of $x$\n:label: ex-a\n\nAsk.\n:::\n\n"
    text += ":::{solution-start} ex-a\n:class: dropdown\n:::\n\nSo, as {ref}`ex-a` asks.\n\n:::{solution-end}\n:::"
    shown = "**Exercise 1.2 (A group of $x$).** Ask.\n\n**Solution of exercise 1.2.**\n\nSo, as Exercise 1.2 asks."
    assert Prose(FIRST).markdown(text) == shown


def test_references_list_each_cited_work_once():
    prose = Prose(FIRST)
    prose.markdown("{cite}`karras2022` {cite:t}`karras2022,efron2011`")
    assert prose.references().count("\n- ") == 2
