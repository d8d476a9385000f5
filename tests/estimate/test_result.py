"""A profile taken along: as a table, and as what to cite."""

import numpy as np
import pytest
from pybtex.database import parse_string

import companion
from companion.entropy import partition
from companion.estimate.result import time_grid
from companion.estimate.run import profile
from companion.exact.gaussian_pairs import gaussian_pair
from companion.exact.mixtures import isotropic_mixture
from companion.forward import central_interval, production_levels
from tools import book


@pytest.fixture(scope="module")
def measured():
    pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    return profile(pair, partition(pair, "0|1"), log_snr=np.linspace(-6.0, 4.0, 15), samples=40, seed=3)


def test_the_table_has_a_row_a_level_and_everything_else_beside_it(measured):
    pytest.importorskip("pandas")
    frame = measured.to_frame()
    assert (frame.index.name, len(frame)) == ("log_snr", 15)
    assert (frame["entropy"].to_numpy() == measured.entropy).all()
    assert (frame["simultaneous_upper"].to_numpy() == measured.band(simultaneous=True)[1]).all()
    assert set(frame.columns).isdisjoint(frame.attrs) and frame.attrs["seed"] == 3


def test_the_entries_are_those_of_the_book_and_say_which_run_it_was(measured):
    cited = parse_string(measured.bibtex(), "bibtex").entries
    listed = parse_string((book.ROOT / "book" / "references.bib").read_text(encoding="utf-8"), "bibtex").entries
    paper, known = cited["entropic_signature"], listed["entropic_signature"]
    assert paper.persons == known.persons
    for field in ("title", "year", "eprint"):
        assert " ".join(paper.fields[field].split()) == " ".join(known.fields[field].split())
    ours = cited["companion"].fields
    assert (ours["title"], ours["year"]) == (book.title(), book.year())
    assert f"version {companion.__version__}" in ours["note"] and "seed 3" in ours["note"]


def test_interval_and_grid_are_those_of_the_exact_law_to_the_error_of_the_run():
    pair, levels = isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-6.0, 4.0, 101)
    found = profile(pair, partition(pair, "0|1"), log_snr=levels, samples=300, seed=3)
    exact = gaussian_pair(0.0, 0.0, 2.0).production(levels)
    # Over seeds the ends and the levels differ from the exact ones by 0.01, one standard deviation; five of those.
    interval, truth = found.interval(0.8), central_interval(levels, exact, 0.8)
    np.testing.assert_allclose((interval.first, interval.last), truth, atol=0.05)
    np.testing.assert_allclose(time_grid(found, 9), production_levels(9, levels, exact), atol=0.05)
    np.testing.assert_array_equal(time_grid(found, 9, 0.0), np.linspace(-6.0, 4.0, 9))
