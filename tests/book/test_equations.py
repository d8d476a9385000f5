"""A displayed identity is the SymPy object that a test checks, or is checked by the test that a label names."""

import pytest

from derivations import identities
from tools import book, editions, statements
from tools.blocks import Equation, inside, parse
from tools.book import ROOT

CHAPTERS = [pytest.param(page, id=page.source.stem) for page in book.chapters()]

# Equations of the running text whose test has a name of its own.
PRODUCTION = "tests/derivations/the_entropy_production_identity"
DENSITY_AND_SOURCE = f"{PRODUCTION}/test_entropy_fields.py::test_density_and_source_integrate_to_entropy_and_production"
OTHERWISE_NAMED = {
    "eq-log-snr": "tests/test_forward.py::test_log_snr_is_that_of_the_kernel_and_falls",
    "eq-control-parameter": "tests/exact/test_two_gaussians.py::test_reference_values_to_ten_digits",
    "eq-estimator": "tests/estimate/test_measure.py::test_default_estimator_holds",
    "eq-one-run": "tests/estimate/test_paths.py::test_held_ratio_is_that_of_the_reverse_kernels",
    "eq-any-partition": "tests/estimate/test_measure.py::test_log_odds_are_those_of_the_sides_densities",
    "eq-held-out": "tests/estimate/test_held_out.py::test_likelihood_ratio_of_points_is_exact",
    "eq-production-density": DENSITY_AND_SOURCE,
    "eq-production-source": DENSITY_AND_SOURCE,
    "eq-production-fokker-planck": f"{PRODUCTION}/test_fokker_planck.py::test_a_linear_drift_is_the_gaussian_kernel",
}


def checked(label: str, statement: str) -> bool:
    if label in identities() or statements.tests_of(label) or label in OTHERWISE_NAMED:
        return True
    return bool(statement) and (book.labels()[statement].kind == "definition" or bool(statements.tests_of(statement)))


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_text_is_as_the_tools_write_it_with_every_identity_as_its_object_says_it(page):
    assert page.source.read_text(encoding="utf-8") == editions.source(page), "run `make editions`"


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_labelled_equation_is_checked(page):
    unchecked = [label for label, statement in statements.equations(page) if not checked(label, statement)]
    assert not unchecked, "no identity, no test named by the label or by its theorem's"


def test_every_identity_is_displayed_and_a_test_named_otherwise_exists_and_is_needed():
    displayed = dict(found for page in book.chapters() for found in statements.equations(page))
    assert set(identities()) <= set(displayed)
    for label, test in OTHERWISE_NAMED.items():
        file, name = test.split("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")
        assert not displayed[label] or not statements.tests_of(displayed[label])
        assert not statements.tests_of(label) and label not in identities()


def test_an_equation_without_a_test_is_noticed(monkeypatch):
    assert dict(statements.equations(book.chapters()[0]))["eq-two-errors"] == "thm-class-entropy-production"
    assert checked("eq-x", "thm-class-entropy-production")
    assert not checked("eq-x", "")
    monkeypatch.setattr(statements, "tests_of", lambda label: ())
    assert not checked("eq-x", "thm-class-entropy-production")


def test_an_equation_is_written_in_lines_that_fit_and_nothing_else_is_touched():
    rest = "\n\n$$\nx\n$$\n\nA price of $x$.\n\n$$\nb = c\n$$ (eq-b)\n"
    long = r"a \left( x \right) &= " + " ".join([r"\ b_{1} + \left| x - y \right|^{2}"] * 9) + r" \\[4pt] &= c"
    text = editions.with_equations(f"$$ ? $$ (eq-a)\n- one\n\n  $$\n  ?\n  $$ (eq-a){rest}", {"eq-a": long})
    assert editions.with_equations(text, {"eq-a": long}) == text
    assert text.endswith(rest)
    assert max(map(len, text.split("\n"))) <= 116
    first, second = (
        found.tex for found in inside(parse(text)) if isinstance(found, Equation) and found.label == "eq-a"
    )
    assert " ".join(first.split()) == " ".join(second.split()) == long
    assert " \\\\[4pt]\n&= c" in first
