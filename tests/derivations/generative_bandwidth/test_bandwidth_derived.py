"""The derivations on generative bandwidth: every displayed equation, its mutants, and the numbers that follow."""

import math

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import quad
from scipy.special import ive, ndtr

from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import full_mixture, isotropic_mixture
from companion.forward import linear, noise_of, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.generative_bandwidth import bandwidth
from derivations.generative_bandwidth import proofs as derived
from derivations.kit.differences import slope
from derivations.kit.identity import survivors
from derivations.kit.language import Dot
from derivations.kit.power_laws import power_law

IDENTITIES = {identity.label: identity for identity in derived.identities()}


def _on_line(points, sigma):
    """The dimension at noise levels sigma of equally probable points on a line."""
    law = empirical_distribution(torch.tensor(np.array(points))[:, None])
    return 2.0 * law.production(-2.0 * np.log(sigma))


def hold(*labels: str) -> bool:
    return all(IDENTITIES[label].holds() for label in labels)


@pytest.mark.parametrize("label", sorted(IDENTITIES))
def test_every_identity_holds_and_no_slip_survives(label):
    assert IDENTITIES[label].holds()
    assert [mutant.slip for mutant in survivors(IDENTITIES[label])] == []


def test_slips_in_the_entropy_of_the_tube_are_noticed_but_for_signs_inside_a_square():
    tube = derived.entropy_of_the_tube().identity("eq-tube", "none")
    left = survivors(tube)
    assert {mutant.slip for mutant in left} == {"nu negated", "\\operatorname{tr}\\mathrm{II} negated"}
    for mutant in left:
        sides = [side.replace(Dot, sympy.Mul) for side in (tube.sides[0], mutant.identity.sides[0])]
        assert sympy.expand(sides[0] - sides[1]) == 0


def test_def_bandwidth_dimension():
    """Its two forms on a mixture of tilted Gaussians in three dimensions, on states that were drawn."""
    assert hold("eq-bandwidth-dimension")
    draw = np.random.default_rng(0)
    root = draw.standard_normal((2, 3, 3))
    mixture = full_mixture([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]], (root @ root.transpose(0, 2, 1)).tolist())
    sigma, count = 0.8, 100_000
    clean, _ = mixture.sample(count, torch.Generator().manual_seed(0))
    x = clean + sigma * torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = torch.full((count,), sigma, dtype=torch.float64)
    by_error = (clean - mixture(x, noise, None)).square().sum(dim=1) / sigma**2
    by_score = 3.0 - sigma**2 * mixture.score(x, noise, None).square().sum(dim=1)
    gap = by_error - by_score
    assert abs(float(gap.mean())) < 4.5 * float(gap.std()) / math.sqrt(count)
    assert 0.0 < float(by_score.mean()) < 3.0


CLOCKS = [(ornstein_uhlenbeck(), 0.7), (linear(), 0.4), (variance_exploding(), 1.3), (rectified_flow(), 0.6)]


@pytest.mark.parametrize(("process", "t"), CLOCKS, ids=[process.name for process, _ in CLOCKS])
def test_prop_bandwidth_rate(process, t):
    """The rate in time against differences of the entropy of two points on a line, which has nothing of the module."""
    assert hold("eq-bandwidth-rate", "eq-bandwidth-log-snr")

    def entropy(at: float) -> float:
        sigma = float(noise_of(process.log_snr(np.array(at))))

        def integrand(x: float) -> float:
            odds = 2.0 * x / sigma**2
            share = 1.0 / (1.0 + math.exp(-odds))
            bell = math.exp(-0.5 * ((x - 1.0) / sigma) ** 2) / math.sqrt(2.0 * math.pi) / sigma
            return -bell * math.log(share)  # by symmetry the surprise about the point at 1 is all of it

        return quad(integrand, 1.0 - 12.0 * sigma, 1.0 + 12.0 * sigma, epsabs=1e-13, epsrel=1e-12, limit=400)[0]

    noise = noise_of(process.log_snr(np.array(t)))
    dimension = _on_line([-1.0, 1.0], noise)
    grown = float(slope(entropy, t, 0.01))  # eighth order
    assert float(bandwidth.rate(dimension, process, t)) == pytest.approx(grown, rel=1e-7)


def test_thm_bandwidth_gaussian():
    """The dimension of a Gaussian against the denoiser of the package, and its flat limit with the first correction."""
    assert hold("eq-bandwidth-gaussian", "eq-bandwidth-score-norm", "eq-bandwidth-subspace")
    gaussian = full_mixture([[0.0] * 3] * 2, [np.diag([2.0, 0.5, 1e-3]).tolist()] * 2)
    sigma = torch.tensor([0.7], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: gaussian(x, sigma, None), torch.zeros(1, 3, dtype=torch.float64)
    )
    trace = float(jacobian[0, :, 0, :].trace())  # Cov/sigma^2 is the derivative of the denoiser
    assert float(bandwidth.gaussian([2.0, 0.5, 1e-3], 0.7)) == pytest.approx(trace, rel=1e-12)
    noise = np.geomspace(1e-3, 1e-2, 5)
    law = power_law(noise, 2.0 - bandwidth.gaussian([4.0, 4.0, 0.0], noise))
    assert law.exponent == pytest.approx(2.0, abs=1e-4)  # sigma^2/h^2 = 2.5e-5
    assert law.factor == pytest.approx(2.0 / 4.0, rel=1e-3)


def test_cor_bandwidth_largest():
    """Points, an interval and a sphere stay below the Gaussian of their covariance, and touch it in the noise."""
    draw = np.random.default_rng(0)
    sigma = np.geomspace(0.05, 20.0, 40)
    points = draw.standard_normal(9)
    for dimension, variances in (
        (_on_line(points, sigma), [points.var()]),
        (bandwidth.interval(1.0, sigma), [1.0 / 12.0]),
        (bandwidth.sphere(4, 1.0, sigma), [0.2] * 5),
    ):
        bound = bandwidth.gaussian(variances, sigma)
        assert np.all(dimension <= bound * (1.0 + 1e-9))
        assert dimension[-1] == pytest.approx(bound[-1], rel=1e-4)  # the next order, (rho/sigma^2)^2


def test_prop_bandwidth_fisher():
    """Along the data the eigenvalue tends to 1/sigma^2, and not to 1/rho; across them it is zero."""
    assert hold("eq-bandwidth-fisher")
    points = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = points * torch.tensor([1.5, 1.5, 0.0])
    spectrum = bandwidth.spectrum(empirical_distribution(points), 0.5, 300, torch.Generator().manual_seed(1))
    flat = 1.5**2 / (1.5**2 + 0.5**2)
    assert spectrum[:, :2].mean() == pytest.approx(flat, abs=0.03)  # 20000 points, about a thousand in reach of a state
    assert np.all(spectrum[:, 2] < 1e-10)
    for rho in (1e2, 1e4):
        eigenvalue = rho / (0.5**2 * (rho + 0.5**2))
        assert abs(eigenvalue - 4.0) < 4.1 / (0.25 * rho) < abs(eigenvalue - 1.0 / rho)


@pytest.mark.parametrize("m", [1, 2, 4, 9])
def test_thm_bandwidth_sphere(m):
    """Eigenvalues by the Jacobian of a numerical denoiser, their small-noise laws, and the limit of the sum."""
    assert hold("eq-bandwidth-riccati", "eq-bandwidth-sphere", "eq-bandwidth-sphere-limit")
    noise, size = np.geomspace(0.005, 0.02, 5), 1.6
    along, across = bandwidth.sphere_spectrum(m, size, noise * size)
    if m > 1:
        first = power_law(noise, 1.0 - along)
        assert (first.exponent, first.factor) == (pytest.approx(2.0, abs=0.01), pytest.approx(m - 1.0, rel=0.02))
    else:
        assert np.all(np.abs(along - 1.0) < 2.0 * noise**4)
    second = power_law(noise, across)
    assert (second.exponent, second.factor) == (pytest.approx(2.0, abs=0.01), pytest.approx(0.5 * m, rel=0.02))
    extrapolated = (4.0 * _excess(m, 0.01) - _excess(m, 0.02)) / 3.0  # leaves sigma^4 and 1e-16/sigma^4 of rounding
    assert extrapolated == pytest.approx(0.5 * m * (3 - 2 * m), rel=1e-4)


def _excess(m: int, sigma: float) -> float:
    return (float(bandwidth.sphere(m, 1.0, sigma)) - m) / sigma**2


def test_thm_bandwidth_curvature():
    """On a torus in four coordinates, on a knotless loop with uneven density, and on a flat Gaussian."""
    assert hold("eq-bandwidth-curvature")
    assert derived.entropy_of_the_tube().last
    _check_density_of_the_tube()
    torus = float(bandwidth.sphere(1, 1.0, 0.02) + bandwidth.sphere(1, 2.0, 0.02)) - 2.0
    assert torus / 0.02**2 == pytest.approx((1.5 - 1.0) * (1.0 + 0.25), rel=2e-3)  # the next order is 2 sigma^2
    flat = float(bandwidth.gaussian([4.0, 4.0], 0.02)) - 2.0
    assert flat / 0.02**2 == pytest.approx(-2.0 / 4.0, rel=2e-4)
    count = 300  # a bean: r = 1 + 0.2 cos 2a, its curvature and density by the discrete Fourier transform
    angle = 2.0 * np.pi * np.arange(count) / count
    place = (1.0 + 0.2 * np.cos(2.0 * angle)) * np.exp(1j * angle)
    shares = np.exp(0.4 * np.sin(angle))
    shares /= shares.sum()

    def slope(values):
        wave = np.fft.fftfreq(count, 1.0 / count)
        return np.fft.ifft(1j * wave * np.fft.fft(values))

    first, second = slope(place), slope(slope(place))
    speed = np.abs(first)
    curvature = (first.conj() * second).imag / speed**3
    density_slope = slope(np.log(shares / speed)).real / speed
    expected = shares @ (0.5 * curvature**2 - density_slope**2)
    points = np.stack([place.real, place.imag], axis=1)
    found = [(bandwidth.curve(points, shares, sigma) - 1.0) / sigma**2 for sigma in (0.08, 0.04)]
    # Two levels take the next order away; what is left is of the order 100 sigma^4 where the bean bends most.
    assert (4.0 * found[1] - found[0]) / 3.0 == pytest.approx(expected, rel=0.02)


def _check_density_of_the_tube() -> None:
    """eq-bandwidth-tube-density against exact densities: what it leaves falls like the third power of the noise."""
    z = np.linspace(-3.0, 3.0, 13)

    def left_over(m: int, size: float, sigma: float) -> float:
        r = size + sigma * z
        k = r * size / sigma**2
        # log of p over q N(nu): I_0(k) e^-k for the circle, (1 - e^-2k)/(2k) for the sphere, normalised.
        exact = np.log(ive(0, k) * np.sqrt(2.0 * np.pi) * size / sigma if m == 1 else size / r)
        bent = -sigma * z * m / (2.0 * size) + 0.25 * m * (sigma * z / size) ** 2
        return float(np.abs(exact - bent - sigma**2 * (m / 4.0 - m**2 / 8.0) / size**2).max())

    for m in (1, 2):
        law = power_law(
            np.geomspace(0.005, 0.04, 4), [left_over(m, 1.4, sigma) for sigma in np.geomspace(0.005, 0.04, 4)]
        )
        assert law.exponent == pytest.approx(3.0, abs=0.1)
    q, sigma = 0.7, 0.01  # a normal density of width q on a line, at y: log p - log q against sigma^2 q''/2q
    y = np.linspace(-2.0, 2.0, 9)
    exact = 0.5 * y**2 * (1.0 / q**2 - 1.0 / (q**2 + sigma**2)) - 0.5 * np.log1p((sigma / q) ** 2)
    assert exact == pytest.approx(0.5 * sigma**2 * (y**2 / q**4 - 1.0 / q**2), abs=1e-6)  # sigma^4 times 80


def test_a_cantor_set_has_its_dimension_on_average_over_a_period_and_repeats_it():
    dust = np.zeros(1)
    for _ in range(8):
        dust = np.concatenate([dust / 3.0, dust / 3.0 + 2.0 / 3.0])
    levels = 6.0 + np.log(9.0) * np.arange(17) / 16
    values = _on_line(dust, noise_of(levels))
    assert values[-1] == pytest.approx(values[0], abs=1e-3)
    assert values[:-1].mean() == pytest.approx(math.log(2.0) / math.log(3.0), abs=1e-3)
    assert np.ptp(values) > 0.015


def test_prop_bandwidth_edge():
    """An interval by quadrature of its own, the slope b, and that nothing but it is left at small noise."""
    assert bandwidth.edge_constant() == pytest.approx(
        quad(lambda z: -ndtr(z) * math.log(ndtr(z)), -30.0, 12.0, epsabs=1e-13, limit=200)[0], abs=1e-10
    )
    assert float(bandwidth.interval(2.0, 0.1)) == pytest.approx(1.0 - 2.0 * bandwidth.edge_constant() * 0.05, abs=1e-10)
    for length in (5.0, 6.0, 7.0):  # what the ends know of each other, next to their overlap exp(-length²/4)
        left = float(bandwidth.interval(length, 1.0)) - 1.0 + 2.0 * bandwidth.edge_constant() / length
        assert 0.05 < left * math.exp(0.25 * length**2) < 0.2

    def squared_slope(x: float) -> float:
        inside = ndtr(x / 0.5) - ndtr((x - 1.0) / 0.5)
        bells = math.exp(-2.0 * x**2) - math.exp(-2.0 * (x - 1.0) ** 2)
        return bells**2 / (2.0 * math.pi * 0.25) / inside

    fisher = 2.0 * quad(squared_slope, -4.0, 0.5, epsabs=1e-13)[0]
    assert float(bandwidth.interval(1.0, 0.5)) == pytest.approx(1.0 - 0.25 * fisher, abs=1e-9)


@pytest.mark.parametrize("points", [[-1.0, 1.0], [0.0, 0.3, 1.0, 4.0, 4.1]])
def test_prop_bandwidth_area(points):
    levels = np.linspace(-16.0, 9.0 + 2.0 * (len(points) > 2), 1400)
    dimension = _on_line(points, noise_of(levels))
    # Below the first level D is the variance times the snr, and adds half of that.
    area = 0.5 * np.trapezoid(dimension, levels) + 0.5 * dimension[0]
    assert area == pytest.approx(math.log(len(points)), abs=1e-6)
    nearest, furthest = np.diff(points).min(), np.ptp(points)
    noise = noise_of(levels)
    bound = (len(points) - 1) / 4.0 * (furthest / noise) ** 2 * np.exp(-0.125 * (nearest / noise) ** 2)
    assert np.all(dimension <= bound * (1.0 + 1e-9) + 1e-12)


def test_one_mixture_has_the_dimension_of_its_points():
    """Isotropic points as a mixture: E|x_0 - D|^2 from the package's own denoiser against the quadrature."""
    mixture = isotropic_mixture([[-1.0], [1.0]], 0.0)
    x = np.linspace(-9.0, 9.0, 4001)
    noise = torch.full((len(x),), 0.9, dtype=torch.float64)
    states = torch.from_numpy(x[:, None])
    guess = mixture(states, noise, None).numpy()[:, 0]
    density = np.exp(-0.5 * ((x - 1.0) / 0.9) ** 2) / np.sqrt(2.0 * np.pi) / 0.9  # by symmetry
    error = float((density * (1.0 - guess) ** 2).sum() * (x[1] - x[0]))
    assert _on_line([-1.0, 1.0], 0.9) == pytest.approx(error / 0.81, rel=1e-9)
