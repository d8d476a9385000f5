"""VP against VE: every identity and every slip in it, the limits by SymPy, and the statements of the chapter."""

import numpy as np
import pytest
import sympy
from mpmath import mp
from sympy import exp, log, sqrt

from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import cosine, linear, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit import landmarks
from derivations.kit.identity import mutants, survivors
from derivations.kit.language import t, width
from derivations.kit.power_laws import power_law
from derivations.kit.speciation import decision_time, entropy, kappa_decided, peak, production
from derivations.vp_against_ve import proofs as derived
from derivations.vp_against_ve.scaling import scaling
from tools import book

OU, VE = ornstein_uhlenbeck(), variance_exploding()
DIMENSIONS = np.geomspace(4.0, 1e6, 12)
PROOFS = [
    derived.vp_control,
    derived.ve_control,
    derived.vp_production,
    derived.ve_production,
    derived.log_snr_production,
]
d, delta, kappa, tau, u = derived.dimension, derived.delta, derived.kappa, derived.tau, derived.u


@pytest.mark.parametrize("identity", derived.identities(), ids=lambda identity: identity.label)
def test_every_slip_in_an_identity_is_caught(identity):
    assert identity.holds()
    assert len(list(mutants(identity))) >= 20
    assert [mutant.slip for mutant in survivors(identity)] == []


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
def test_proofs_arrive(proof):
    assert len(proof().steps) >= 3


def test_a_world_knows_kappa_from_the_mixture_alone():
    for world, process in ((derived._VP_WORLDS[1], OU), (derived._VE_WORLDS[1], VE)):
        at, apart = (float(world.values[word]) for word in (t, delta))
        truth = two_gaussians.control_parameter(
            process.alpha(np.asarray(at)), process.sigma(np.asarray(at)), apart * np.sqrt(12.0), 1.4
        )
        assert float(world.values[kappa]) == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.parametrize("s", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("dimension", [4.0, 100.0, 1e5])
def test_thm_scaling_collapse(dimension, s):
    largest = float(two_gaussians.production(landmarks.largest_production()) * landmarks.largest_production())
    tau_at, u_at = np.linspace(-0.5 * np.log(dimension) + 1e-3, 4.0, 60), np.geomspace(0.01, 30.0, 60)
    limits = (two_gaussians.entropy(4.0 * np.exp(-2.0 * tau_at)), two_gaussians.entropy(4.0 / u_at**2))
    curves = (
        entropy(OU, tau_at + 0.5 * np.log(dimension), 2.0 * np.sqrt(dimension), s),
        entropy(VE, u_at * np.sqrt(dimension), 2.0 * np.sqrt(dimension), s),
    )
    bounds = (
        np.abs(np.log1p((s * s - 1.0) * np.exp(-2.0 * tau_at) / dimension)),
        np.log1p(s * s / (dimension * u_at**2)),
    )
    for curve, limit, bound in zip(curves, limits, bounds, strict=True):
        assert np.all(np.abs(curve - limit) <= largest * bound + 1e-14)  # rounding of entropies below one
    if s == 1.0:
        np.testing.assert_allclose(curves[0], limits[0], atol=1e-14)


def test_thm_scaling_collapse_in_symbols():
    assert derived.in_the_limit(derived.VP_CENTRED) == delta**2 * exp(-2 * tau)
    assert derived.in_the_limit(derived.VE_RESCALED) == delta**2 / u**2
    assert sympy.simplify(derived.VP_CENTRED.subs(width, 1) - delta**2 * exp(-2 * tau)) == 0
    ratio = delta**2 * exp(-2 * tau) / derived.VP_CENTRED
    assert sympy.simplify(ratio - 1 - (width**2 - 1) * exp(-2 * tau) / d) == 0
    ratio = delta**2 / u**2 / derived.VE_RESCALED
    assert sympy.simplify(ratio - 1 - width**2 / (d * u**2)) == 0


@pytest.mark.parametrize(("place", "limit"), [(sympy.Rational(1, 2), sympy.oo), (1, delta**2), (2, 0)])
def test_thm_scaling_collapse_regimes(place, limit):
    assert derived.in_the_limit(derived.VP_RESCALED.subs(u, place)) == limit  # ES 59, 67: before, at and after t_S
    assert derived.in_the_limit(derived.VE_RESCALED.subs(u, place)) == delta**2 / place**2  # ES 73: finite everywhere


def test_lem_scaling_one_peak():
    second, squares = derived.curvature_of_bell()
    assert (second + squares).applyfunc(lambda entry: sympy.simplify(entry.rewrite(exp))) == sympy.zeros(2, 2)
    numbers = dict(zip(sorted(squares.free_symbols, key=str), (0.3, -0.4), strict=True))
    assert np.linalg.eigvalsh(np.array(squares.subs(numbers), dtype=float)).min() > 0.0
    # and the curve itself: strictly concave in log kappa, to differences of step 0.1
    logs = np.linspace(-8.0, 6.0, 141)
    heights = logs + two_gaussians.log_production(np.exp(logs))
    assert np.all(np.diff(heights, 2) < 0.0)


@pytest.mark.parametrize("wide", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("apart", [1.0, 2.0, 5.0])
def test_thm_scaling_peak(apart, wide):
    far = 1e9
    vp = peak(OU, apart * np.sqrt(far), wide)
    ve = peak(VE, apart * np.sqrt(far), wide)
    at_vp, at_ve = landmarks.largest_production(), landmarks.peak_in_ve_time(1.0, 0.0)
    # What is left is of the order 1/d.
    assert vp.time - 0.5 * np.log(far) == pytest.approx(np.log(apart) - 0.5 * np.log(at_vp), abs=1e-7)
    assert vp.height == pytest.approx(2.0 * at_vp * float(two_gaussians.production(at_vp)), abs=1e-7)
    assert ve.time / np.sqrt(far) == pytest.approx(apart / np.sqrt(at_ve), abs=1e-7)
    height = 2.0 / apart * at_ve**1.5 * float(two_gaussians.production(at_ve))
    assert ve.height * np.sqrt(far) == pytest.approx(height, abs=1e-7)


def test_thm_scaling_peak_misses_its_limit_by_one_over_d():
    limit = 2.0 / np.sqrt(landmarks.peak_in_ve_time(1.0, 0.0))
    far = np.geomspace(1e3, 1e6, 7)
    missing = [limit - peak(VE, 2.0 * np.sqrt(one), 1.0).time / np.sqrt(one) for one in far]
    assert power_law(far, missing).exponent == pytest.approx(-1.0, abs=1e-3)  # the next order is 1/d^2


def test_thm_scaling_peak_known_values():
    assert np.log(2.0) - 0.5 * np.log(landmarks.largest_production()) == pytest.approx(-0.205501748, abs=6e-10)
    assert 2.0 / np.sqrt(landmarks.peak_in_ve_time(1.0, 0.0)) == pytest.approx(0.643803, abs=6e-7)


def test_thm_scaling_window():
    ends = {derived.noisy: kappa_decided(0.1), derived.clear: kappa_decided(0.9)}
    for expression, process in ((derived.VP_WINDOW, OU), (derived.VE_WINDOW, VE)):
        formula = sympy.lambdify(d, expression.subs({**ends, delta: 2, width: 1}))
        laws = scaling(process, DIMENSIONS, 2.0, 1.0)
        np.testing.assert_allclose(laws.widths, formula(DIMENSIONS), rtol=1e-12)
    assert derived.exponent(derived.VP_WINDOW) == 0
    assert derived.exponent(derived.VE_WINDOW) == sympy.Rational(1, 2)
    assert derived.exponent(derived.LOG_SNR_WINDOW) == 0
    limit = derived.in_the_limit(derived.VP_WINDOW)
    assert sympy.simplify(limit - log(derived.clear / derived.noisy) / 2) == 0
    limit = derived.in_the_limit(derived.VE_WINDOW / sqrt(d))
    assert sympy.simplify(limit - delta * (1 / sqrt(derived.noisy) - 1 / sqrt(derived.clear))) == 0
    limit = derived.in_the_limit(derived.LOG_SNR_WINDOW)
    assert sympy.simplify(limit - log(derived.clear / derived.noisy)) == 0


def test_thm_scaling_window_is_the_measured_exponent():
    far = np.geomspace(1e3, 1e9, 13)
    preserving, exploding = scaling(OU, far, 2.0, 0.5), scaling(VE, far, 2.0, 0.5)
    assert preserving.width.exponent == pytest.approx(0.0, abs=1e-4)
    assert exploding.width.exponent == pytest.approx(0.5, abs=1e-4)
    # relative to t_S the first shrinks like 1 / log d, and no faster
    relative = preserving.widths / (0.5 * np.log(far))
    np.testing.assert_allclose(relative * np.log(far), np.log(kappa_decided(0.9) / kappa_decided(0.1)), rtol=1e-3)


@pytest.mark.parametrize("process", [OU, VE, linear(), cosine(), rectified_flow()], ids=lambda process: process.name)
def test_prop_scaling_clock(process):
    ell = np.linspace(-4.0, 5.0, 19)
    for dimension, s in ((9.0, 0.7), (100.0, 0.7)):
        levels = ell - np.log(dimension)
        time = process.time(levels)
        here = entropy(process, time, 2.0 * np.sqrt(dimension), s)
        formula = sympy.lambdify(derived.ell, derived.LOG_SNR.subs({d: dimension, delta: 2, width: s}))
        np.testing.assert_allclose(here, two_gaussians.entropy(formula(ell)), atol=1e-12)
        # production per log-snr is the process's, divided by its own speed, and the same for all
        speed = process.diffusion(time) / process.sigma(time) ** 2
        per_level = production(process, time, 2.0 * np.sqrt(dimension), s) / speed
        pair = isotropic_mixture([[-np.sqrt(dimension)], [np.sqrt(dimension)]], s)
        np.testing.assert_allclose(per_level, pair.production(levels), atol=1e-9)


@pytest.mark.parametrize(
    ("process", "power"),
    [(OU, 0.0), (VE, 0.5), (rectified_flow(), -0.5), (cosine(0.0), -0.5)],
    ids=lambda one: str(one)[:20],
)
def test_cor_scaling_exponents(process, power):
    far = np.geomspace(1e6, 1e10, 9)
    assert scaling(process, far, 2.0, 1.0).width.exponent == pytest.approx(power, abs=2e-3)  # flow: misses by d^-1/2


def test_cor_scaling_exponents_of_a_linear_rate():
    """A rate that grows by b per unit of time: the window shrinks like log(kappa_b/kappa_a) / sqrt(2 b log d)."""
    slow = linear(1e-9, 2000.0)  # next to no constant part, and room for log d = 400
    far = np.exp([100.0, 200.0, 400.0])
    noisy, clear = (decision_time(slow, share, 2.0 * np.sqrt(far), 0.0) for share in (0.1, 0.9))
    leading = np.log(kappa_decided(0.9) / kappa_decided(0.1)) / np.sqrt(2.0 * 2000.0 * np.log(far))
    # Instead of log d it is log(d delta^2 / kappa), 1.5 more or less; half of that share of log d is missed.
    np.testing.assert_allclose(noisy - clear, leading, rtol=0.01)


def test_bell_to_thirty_digits():
    with mp.workdps(30):
        at = mp.mpf(4)
        mean = mp.quad(lambda x: mp.npdf(x) * mp.sech(mp.sqrt(at) * x / 2), np.linspace(-12, 12, 9).tolist())
        assert float(two_gaussians.production(4.0)) == pytest.approx(float(mp.exp(-at / 8) / 8 * mean), rel=1e-13)


def test_the_summary_table_of_the_chapter_follows_its_arguments():
    (page,) = [page for page in book.chapters() if page.source.stem == "vp_against_ve"]
    code = [cell.source for cell in book.read_cells(page).cells if cell.cell_type == "code"]
    (imports,) = [source for source in code if "import numpy as np" in source]
    (table,) = [source for source in code if "def summary" in source]
    names = {}
    exec(imports + "\n" + table.rpartition("\n")[0], names)  # the last line draws the table of the page

    def cells(first, last, delta, s):
        rows = names["summary"](np.geomspace(first, last, 9), delta, s).data.splitlines()
        return {row.split("|")[1].strip(): row.split("|")[2:4] for row in (rows[0], *rows[2:])}

    here, farther, closer = cells(16.0, 1e6, 2.0, 1.0), cells(1e3, 1e9, 2.0, 1.0), cells(16.0, 1e6, 3.0, 0.5)
    for row in ("speciation scale, fitted", "its exponent", "window in t, exponent", "window in u, first and last d"):
        assert here[row][1] != farther[row][1] and here[row][1] != closer[row][1], row
    assert here["window in t, last d"][0] != farther["window in t, last d"][0]
    assert here["control parameter κ"] == farther["control parameter κ"] == closer["control parameter κ"]
    assert here["speciation scale, fitted"][0] == f" $e^{{t}} = {np.exp(-0.205501748):.4f}\\, d^{{\\,0.5000}}$ "
