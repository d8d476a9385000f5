"""The production of class entropy: every statement of its chapter by the name of its label, and every slip in it."""

import math

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from companion.entropy import partition
from companion.exact.laws import production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import cosine, noise_of, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit.algebra import same_identity, vanishes
from derivations.kit.coordinates import (
    Current,
    Gradient,
    Motion,
    components,
    entropy_current,
    entropy_density,
    in_coordinates,
    residual,
)
from derivations.kit.differences import slope
from derivations.kit.identity import mutants, survivors
from derivations.kit.independent_productions import (
    production_from_entropy,
    production_from_errors,
    production_from_scores,
    random_mixture,
)
from derivations.kit.language import (
    Norm2,
    Total,
    density,
    i,
    j,
    mixture_density,
    mixture_score,
    posterior,
    score,
)
from derivations.kit.worlds import jets, random_fields
from derivations.the_entropy_production_identity import absorbing_boundary, entropy_fields, production, worlds
from derivations.the_entropy_production_identity import production_forms as forms
from derivations.the_entropy_production_identity.fokker_planck import evolve, on_line
from derivations.the_entropy_production_identity.one_dimension import box_classes, cauchy_classes

BY_LABEL = {identity.label: identity for identity in (*production.identities(), *forms.identities())}
LINE = isotropic_mixture([[-1.0], [0.3], [1.2]], [0.3, 0.5, 0.2], [0.2, 0.5, 0.3])
PROCESSES = [ornstein_uhlenbeck(), cosine(), variance_exploding(), rectified_flow()]

# Slips that leave the identity what it was, each with the reason; the tests prove it.
SAME = {
    "eq-production-lemma": {"u(x, t) negated": "the length of grad(-u) is that of grad u"},
    "eq-production-gap": {
        "posterior[i] negated": "log of a multiple has the same gradient",
        "posterior[i] doubled": "log of a multiple has the same gradient",
    },
    "eq-production-error": {"-1 -> 1 in -e": "the mixed term is zero, whatever its sign"},
    "eq-production-pairwise": {"(s[i] - s[j])*posterior[j] negated": "the length of -v is that of v"},
    "eq-production-log-odds": {
        "(s[i] - s[j])*exp(-L[i, j])/(Others(exp(-L[i, k]), k, i) + 1) negated": "the length of -v is that of v"
    },
}


def proved(proof, label):
    """A proof ends where its identity says, and starts there too."""
    sides = BY_LABEL[label].sides
    return proof.first == sides[0] and proof.last in sides[1:]


@pytest.mark.parametrize("label", BY_LABEL)
def test_identities_hold_and_every_slip_is_caught(label):
    identity = BY_LABEL[label]
    assert identity.holds()
    assert len(list(mutants(identity))) >= 6
    alive = {mutant.slip: mutant for mutant in survivors(identity)}
    assert set(alive) == set(SAME.get(label, {}))
    for mutant in alive.values():
        if identity.worlds is worlds.LOCAL:
            pairs = zip(mutant.identity.sides, identity.sides, strict=True)
            assert all(not any(residual(changed, side, 2)) for changed, side in pairs)
        else:
            assert same_identity(mutant, identity)


def test_lem_density_entropy():
    """-u log u of one density, by SymPy in one, two and three dimensions."""
    assert proved(production.density_entropy(), "eq-production-lemma")
    for dimension in (1, 2, 3):
        assert residual(*BY_LABEL["eq-production-lemma"].sides, dimension) == [0] * dimension


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 3])
def test_thm_local_production(dimension, classes):
    """The local theorem for abstract densities, drift and diffusion: what is left of it is exactly zero."""
    left, right = BY_LABEL["eq-production-local"].sides
    assert residual(left, right, dimension, classes) == [0] * dimension


def test_thm_local_production_by_steps_and_by_numbers():
    assert proved(production.local_production(), "eq-production-local")
    x, at = np.linspace(-3.0, 3.0, 13), 0.4
    for process in PROCESSES:
        grown = slope(lambda time, process=process: entropy_fields.entropy_density(LINE, process, time, x), at, 0.004)
        spread = slope(
            lambda place, process=process: entropy_fields.entropy_current(LINE, process, at, place), x, 0.005
        )
        # Sixth order with steps of 1/100 of what varies: 1e-12 times derivatives of a few thousand.
        np.testing.assert_allclose(
            grown + spread, entropy_fields.entropy_source(LINE, process, at, x), atol=1e-7, rtol=0.0
        )


def test_prop_entropy_current():
    """grad h, in one, two and three dimensions, and the current made of it."""
    gradient = production.entropy_gradient()
    for dimension in (1, 2, 3):
        assert residual(gradient.first, gradient.last, dimension, 3) == [0] * dimension
        assert residual(*BY_LABEL["eq-production-current"].sides[1:], dimension) == [0] * dimension
        h, p = components(entropy_density, dimension)[0], components(mixture_density, dimension)[0]
        shown = [value.xreplace({entropy_density: h, mixture_density: p}) for _, value in Current(dimension).components]
        for one, meant in zip(shown, components(entropy_current, dimension), strict=True):
            assert jets(0).agree([one, meant])
    x = np.linspace(-2.0, 2.0, 9)
    for process in PROCESSES:
        h = entropy_fields.entropy_density(LINE, process, 0.4, x)
        dh = slope(lambda place, process=process: entropy_fields.entropy_density(LINE, process, 0.4, place), x, 0.005)
        moved = float(process.drift(np.array(0.4))) * x * h - 0.5 * float(process.diffusion(np.array(0.4))) * dh
        np.testing.assert_allclose(entropy_fields.entropy_current(LINE, process, 0.4, x), moved, atol=1e-8, rtol=0.0)


def test_a_residual_of_what_is_false_is_not_zero():
    left, right = BY_LABEL["eq-production-local"].sides
    source = production.half_g2 * Total(production.joint * Norm2(score[i] - mixture_score), i)
    for wrong in (2 * right, right - source / 2, right + entropy_density, -right):
        assert residual(left, wrong, 1) != [0]
    assert residual(*[-side for side in (left, right)], 1) == [0]


def test_the_lemma_needs_the_equation_of_motion():
    """A sum of two densities is a density, a product is none."""
    assert in_coordinates(2).agree([Motion(mixture_density), sympy.S.Zero])
    assert not in_coordinates(2).agree([Motion(density[1] * density[2]), sympy.S.Zero])
    (plain,) = components(Gradient(density[1]), 1)
    assert str(plain) == "Derivative(p_1(x, t), x)"


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
def test_thm_entropy_balance(process):
    """On an interval the entropy grows by the source and what flows in; on the line nothing flows in."""
    nodes, shares = np.polynomial.legendre.leggauss(200)

    def inside(function, time, low, high):
        x = low + 0.5 * (high - low) * (nodes + 1.0)
        return 0.5 * (high - low) * float(shares @ function(LINE, process, time, x))

    grown = slope(lambda time: inside(entropy_fields.entropy_density, time, -0.5, 1.0), 0.4, 0.004)
    source = inside(entropy_fields.entropy_source, 0.4, -0.5, 1.0)
    inflow = entropy_fields.entropy_current(LINE, process, 0.4, -0.5) - entropy_fields.entropy_current(
        LINE, process, 0.4, 1.0
    )
    assert abs(float(inflow)) > 0.01  # the boundary matters here
    assert grown == pytest.approx(source + float(inflow), abs=1e-8)
    everywhere = inside(entropy_fields.entropy_source, 0.4, -9.0, 9.0)
    assert everywhere == pytest.approx(float(production_in_time(LINE, process, 0.4)), abs=1e-9)


@pytest.mark.parametrize("drift", [lambda x: -x, lambda x: x - x**3, lambda x: np.sin(3.0 * x) - x])
def test_thm_entropy_balance_with_a_drift_that_is_not_linear(drift):
    """No Gaussian kernel: the Fokker-Planck equation is solved, and the entropy differentiated."""
    start = on_line([-1.0, 0.4, 1.2], 0.4, [0.2, 0.5, 0.3], reach=6.0, nodes=351)
    times = [0.5 + 0.01 * m for m in range(-4, 5)]
    states = dict(zip(range(-4, 5), evolve(start, drift, 1.0, times), strict=True))
    grown = slope(lambda time: states[round((time - 0.5) / 0.01)].entropy(), 0.5, 0.01)
    assert grown == pytest.approx(states[0].production(1.0), abs=1e-9)


def test_thm_entropy_balance_without_moments():
    """Cauchy classes have no mean, and classes without moments obey the identity all the same."""
    cauchy = cauchy_classes([-1.0, 1.0], 0.5, [0.3, 0.7])
    for level in (-2.0, 0.0, 2.0):
        lost = -slope(lambda at: cauchy.entropy(float(noise_of(at))), level, 0.05)
        assert lost == pytest.approx(cauchy.production(float(noise_of(level))), abs=1e-9)


def test_thm_entropy_balance_uses_two_bounds():
    """E_i|s_i|^2 <= d/sigma^2, and gamma log^2 gamma <= 4/e^2: what makes the flux vanish."""
    gamma = np.linspace(1e-9, 1.0, 100_001)
    assert (gamma * np.log(gamma) ** 2).max() <= 4.0 / math.e**2
    assert math.exp(-2.0) * 4.0 == pytest.approx(4.0 / math.e**2)  # attained at e^-2
    for world, dimension, sigma in zip(worlds.MIXTURES, (1, 2), ((1.0 - math.exp(-0.8)) ** 0.5, 0.6), strict=True):
        for c in range(3):
            square = (world.values[score][c] ** 2).sum(axis=1)
            mean = float(world.weights @ (world.densities[c, :, 0] * square))
            assert 0.0 < mean < dimension / sigma**2


@settings(max_examples=10, derandomize=True)
@given(first=st.floats(0.5, 2.0), second=st.floats(0.5, 3.0), weight=st.floats(0.1, 0.9), time=st.floats(0.2, 3.0))
def test_prop_absorbing_wall(first, second, weight, time):
    """What the entropy of the survivors loses beside its production is the flux into the wall."""
    case = ([first, second], [weight, 1.0 - weight])
    grown = slope(lambda at: absorbing_boundary.entropy_before_wall(*case, at), time, 0.01 * time)
    balance = absorbing_boundary.production_before_wall(*case, time) - absorbing_boundary.flux_into_wall(*case, time)
    assert grown == pytest.approx(balance, abs=1e-9)
    arrived = -slope(lambda at: absorbing_boundary.survival(*case, at), time, 0.01 * time)
    assert 0.0 <= absorbing_boundary.flux_into_wall(*case, time) <= arrived * math.log(2.0) + 1e-9


@pytest.mark.parametrize(("components", "dimension", "log_snr"), [(2, 3, -0.5), (3, 1, 0.5), (4, 2, 0.0), (5, 1, -1.0)])
def test_thm_global_production(components, dimension, log_snr):
    """By steps, and on random mixtures by three routes without common code."""
    assert proved(production.global_production(), "eq-production-global")
    mixture = random_mixture(components, dimension, seed=7)
    routes = (production_from_entropy, production_from_scores, production_from_errors)
    values = [route(mixture, log_snr) for route in routes]
    np.testing.assert_allclose(values, float(mixture.production(log_snr)), atol=1e-8, rtol=0.0)


def test_prop_runaway_drift():
    """dX = e^X dt: h moves by the equation, what leaves is the flux far out, and the first condition just fails."""

    def at_start(x):
        odds = math.exp(-2.0 * min(abs(x), 300.0))  # of the farther of two normal classes at -1 and 1
        bells = math.exp(-0.5 * (x + 1.0) ** 2) + math.exp(-0.5 * (x - 1.0) ** 2)
        density = 0.5 * bells / math.sqrt(2.0 * math.pi)
        return density, density * (math.log1p(odds) + 2.0 * abs(x) * odds / (1.0 + odds))

    def later(x, t):
        began = -float(np.logaddexp(-x, math.log(t)))
        return [value * math.exp(began - x) for value in at_start(began)]

    for x, t in ((-0.6, 0.4), (0.3, 0.8), (2.5, 1.3)):
        grown = slope(lambda time, x=x: later(x, time)[1], t, 0.004)
        spread = slope(lambda place, t=t: math.exp(place) * later(place, t)[1], x, 0.004)
        assert grown == pytest.approx(-spread, abs=1e-9)

    def left(t):
        ends = ((-math.inf, 0.0), (0.0, 4.0), (4.0, math.inf))
        return sum(quad(lambda x: later(x, t)[1], *pair, epsabs=1e-12, limit=200)[0] for pair in ends)

    for t in (0.7, 1.5):
        flux = at_start(-math.log(t))[1] / t
        assert slope(left, t, 0.02 * t) == pytest.approx(-flux, abs=1e-7)
        assert math.exp(30.0) * later(30.0, t)[1] == pytest.approx(flux, rel=1e-10)  # the rest is of the order e^-30
        # E[e^X/(1 + X)] between 30 and 600: p e^x is constant there, to e^-30, so that the integral is a logarithm.
        more = quad(lambda x, t=t: math.exp(x) / (1.0 + x) * later(x, t)[0], 30.0, 600.0, epsrel=1e-9, limit=200)[0]
        assert more == pytest.approx(math.log(601.0 / 31.0) * at_start(-math.log(t))[0] / t, rel=1e-7)


def test_prop_score_gap():
    gap = forms.score_gap()
    assert {gap.first, gap.last} <= set(BY_LABEL["eq-production-gap"].sides)
    for dimension in (1, 2, 3):
        assert residual(*BY_LABEL["eq-production-score"].sides, dimension, 3) == [0] * dimension
        first, second, third = BY_LABEL["eq-production-gap"].sides
        assert residual(first, second, dimension, 3) == residual(second, third, dimension, 3) == [0] * dimension


def test_prop_pairwise_production():
    assert proved(forms.pairwise_production(), "eq-production-pairwise")
    assert vanishes(production.gap - forms.pairwise_production().last / production.half_g2)


def test_prop_pair_sum():
    """The sum over pairs is exact; the squares of one class's terms do not add up, and are bounded."""
    proof = forms.pair_sum()
    assert proved(proof, "eq-production-pairs")
    assert vanishes(proof.first - proof.last)
    fields = random_fields(5, classes=4).values
    share, scores = fields[posterior], fields[score]
    for c in range(4):
        terms = share[:, :, :1] * (scores[c] - scores)  # p(j|x) (s_i - s_j)
        together = (terms.sum(axis=0) ** 2).sum(axis=1)
        assert np.abs(together - (terms**2).sum(axis=(0, 2))).min() > 1e-3
        bound = (1.0 - share[c, :, 0]) * (share[:, :, 0] * ((scores[c] - scores) ** 2).sum(axis=2)).sum(axis=0)
        assert np.all(together <= bound + 1e-12)


def test_prop_log_odds_production():
    assert proved(forms.log_odds_production(), "eq-production-log-odds")
    for dimension in (1, 2, 3):
        assert residual(*BY_LABEL["eq-production-odds-slope"].sides, dimension) == [0] * dimension
    assert vanishes(forms.softmax.xreplace({i: 1, j: 2}) - posterior[2])


def test_prop_binary_production():
    """The two sides of a partition, each a mixture of classes, against the package's own production."""
    assert proved(forms.binary_production(), "eq-production-binary")
    mixture = random_mixture(4, 2, seed=3)
    sides = mixture.sides(partition(mixture, [0, 3], [1, 2], "true"))
    x, _ = sides.sample_noised(200_000, 1.0, torch.Generator().manual_seed(0))
    noise = torch.ones(len(x), dtype=torch.float64)
    gamma = sides.posterior(x, noise)[:, 0].exp()
    first, second = (sides.score(x, noise, torch.full((len(x),), side)) for side in (0, 1))
    values = 0.5 * gamma * (1.0 - gamma) * (first - second).square().sum(dim=1)
    error = float(values.std()) / math.sqrt(len(x))
    assert abs(float(values.mean()) - float(sides.production(0.0))) < 4.0 * error


def test_prop_snr_production():
    """One curve for all processes, and the difference of the two errors."""
    assert proved(forms.snr_production(), "eq-production-snr")
    for process in PROCESSES:
        world = worlds.noised(LINE, process, 0.3)
        assert all(world.agree(BY_LABEL[label].sides) for label in ("eq-production-snr", "eq-production-global"))


def test_prop_approximate_scores():
    """A mixture's score that is wrong by e adds its whole square, whatever e is."""
    proof = forms.approximate_gap()
    assert proved(proof, "eq-production-error")
    wrong = random_fields(7).values[score][0]  # any vector field
    fields = random_fields(0)
    share, scores, total = fields.values[posterior], fields.values[score], fields.values[mixture_density]
    gaps = scores - fields.values[mixture_score]
    more = (share * ((gaps - wrong) ** 2 - gaps**2)).sum(axis=(0, 2)) * total[:, 0]
    assert float(fields.weights @ more) == pytest.approx(float(fields.weights @ (total * wrong**2).sum(axis=1)))


def test_edges_make_the_production_per_time_infinite_in_the_data():
    """Boxes: P is proportional to sigma, so that dH/dt grows like t^(-1/2) where sigma^2 = t, and integrates."""
    boxes = box_classes([0.0, 0.5], 1.0, [0.5, 0.5])
    ratios = [boxes.production(sigma) / sigma for sigma in (0.02, 0.005, 0.001)]
    np.testing.assert_allclose(ratios, ratios[-1], rtol=1e-9)
    lost = -slope(lambda level: boxes.entropy(float(noise_of(level))), 1.0, 0.05)
    assert lost == pytest.approx(boxes.production(float(noise_of(1.0))), abs=1e-9)
