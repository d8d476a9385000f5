"""The theorems of the chapter on guided information: each test carries the label of its theorem."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import hyp2f1

from companion.errors import InputError
from companion.forward import linear, ornstein_uhlenbeck
from derivations.guided_information.joint_gaussian import guided
from derivations.guided_information.one_dimension import guided_information, log_shrinkage, stretch
from derivations.guided_information.readings import from_samples, integrated_covariance, sampled
from derivations.kit.joint_gaussian import Joint, observed, random_joint

# Propagated determinants are good to about 1e-9, see `guided`; the paths begin in noise that leaves 1e-9 nats to share.
CLOSE = 1e-6

law_of = cache(guided)
example = cache(random_joint)
PAPER = [(conditions, noise) for conditions in (5, 10, 15) for noise in (1.0, 0.6, 0.25)]


def commuting(noises: list[float]) -> Joint:
    """White data seen through a channel: its covariances commute, and its directions have these noises."""
    draw = np.random.default_rng(5)
    turned = np.linalg.qr(draw.standard_normal((4, 4)))[0]
    channel = turned[: len(noises)] / np.array(noises)[:, None]
    return observed(np.eye(4), channel, 1.0)


def test_the_joint_law_is_that_of_the_channel():
    """Samples of X and A X + noise against the law built from A, and the textbook's determinant of the joint."""
    draw = np.random.default_rng(0)
    root, channel, noise, count = draw.standard_normal((3, 3)), draw.standard_normal((2, 3)), 0.7, 200_000
    joint = observed(root @ root.T, channel, noise)
    x = draw.standard_normal((count, 3)) @ root.T
    y = x @ channel.T + noise * draw.standard_normal((count, 2))
    ours, theirs = (np.cov(np.hstack(pair).T) for pair in (joint.samples(count, draw), (x, y)))
    scale = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert np.all(np.abs(ours - theirs) < 6.0 * np.sqrt(2.0 / count) * scale)  # more than four standard errors
    whole = np.block(
        [[joint.marginal, joint.gain @ joint.condition], [(joint.gain @ joint.condition).T, joint.condition]]
    )
    determinants = [np.linalg.slogdet(part)[1] for part in (joint.marginal, joint.condition, whole)]
    assert joint.information() == pytest.approx(0.5 * (determinants[0] + determinants[1] - determinants[2]), abs=1e-9)
    assert joint.information(0.3) < joint.information()
    np.testing.assert_allclose(joint.marginal, root @ root.T, rtol=1e-9, atol=1e-12)


def test_prop_joint_rate():
    """The rate's integral over all noise is I_0, on the clock of the noise and on those of two VP processes."""
    for conditions, noise in ((5, 1.0), (10, 0.6), (15, 0.25)):
        joint = random_joint(25, conditions, noise, seed=0)
        logs = np.linspace(-30.0, 30.0, 3001)  # the trapezoidal rule: both ends are flat to 1e-12
        rate = np.exp(logs) * joint.information_rate(np.exp(logs))
        assert 0.02 * rate.sum() == pytest.approx(joint.information(), abs=CLOSE)
        inner, outer = (np.linalg.eigvalsh(matrix) for matrix in (joint.within, joint.marginal))
        for process, last in ((ornstein_uhlenbeck(), 14.0), (linear(), 1.0)):

            def in_time(time, process=process, inner=inner, outer=outer):
                a, s, g2 = (float(f(np.array(time))) for f in (process.alpha, process.sigma, process.diffusion))
                return 0.5 * g2 * np.sum(1.0 / (a**2 * inner + s**2) - 1.0 / (a**2 * outer + s**2))

            pieces = np.concatenate([[0.0], last * np.geomspace(1e-6, 1.0, 13)])
            total = sum(quad(in_time, a, b, epsabs=1e-9, epsrel=1e-10)[0] for a, b in pairwise(pieces))
            floor = float(np.exp(-0.5 * process.log_snr(np.array(last))))
            assert total + joint.information(floor) == pytest.approx(joint.information(), abs=CLOSE)


def test_prop_joint_rate_is_the_distance_of_the_scores():
    """The mean of |s_cond - s_uncond|^2 / 2 over drawn noisy pairs, within four standard errors."""
    joint, q, draw = random_joint(6, 2, 0.8, seed=3), 0.2, np.random.default_rng(1)
    x, y = joint.samples(100_000, draw)
    x += np.sqrt(q) * draw.standard_normal(x.shape)
    noise = q * np.eye(6)
    inner, outer = joint.within + noise, joint.marginal + noise
    apart = np.linalg.solve(outer, x.T) - np.linalg.solve(inner, (x - y @ joint.gain.T).T)
    values = 0.5 * (apart**2).sum(axis=0)
    assert abs(values.mean() - joint.information_rate(q)) < 4.0 * values.std() / np.sqrt(len(x))


def test_thm_joint_determinant():
    """Determinants of the propagated root against Liouville's, three conditions, three noises, three weights."""
    for conditions, noise in PAPER:
        joint = example(25, conditions, noise, seed=0)
        for weight in (1.0, 2.0, 7.0):
            expected = joint.log_determinant - 2.0 * (weight - 1.0) * joint.information()
            assert law_of(joint, weight).log_determinant == pytest.approx(expected, abs=CLOSE)


def test_thm_joint_determinant_needs_the_root():
    """Integrated as a covariance, the determinant of the same law is off by more than a nat at a tolerance of 1e-8."""
    joint = example(25, 5, 1.0, seed=0)
    exact = joint.log_determinant - 12.0 * joint.information()
    lost = [integrated_covariance(joint, 7.0, tolerance) - exact for tolerance in (1e-8, 1e-12)]
    assert lost[0] > 1.0 and abs(lost[1]) < 0.01


def test_no_guidance_gives_the_law_back():
    joint = random_joint(25, 10, 0.6, seed=2)
    for churn in (0.0, 0.3, 1.0):
        same = guided(joint, 1.0, churn)
        np.testing.assert_allclose(same.within, joint.within, atol=1e-8)
        np.testing.assert_allclose(same.gain, joint.gain, atol=1e-8)


def test_thm_joint_information():
    """I_w = w I_0 + what the marginal gained; its slope per I_0 for the paper's dimensions and three noises."""
    weights = [1.0, 2.0, 7.0]
    for conditions, noise in PAPER:
        joint = example(25, conditions, noise, seed=0)
        values = []
        for weight in weights:
            after = law_of(joint, weight)
            gained = 0.5 * (np.linalg.slogdet(after.marginal)[1] - np.linalg.slogdet(joint.marginal)[1])
            assert after.information() == pytest.approx(weight * joint.information() + gained, abs=CLOSE)
            values.append(after.information())
        slopes = np.diff(values) / np.diff(weights) / joint.information()
        assert np.all((slopes > 0.95) & (slopes < 1.10))


def test_thm_joint_information_of_known_numbers():
    """Numbers of an independent prototype, two decimals."""
    five, fifteen = example(25, 5, 1.0, seed=0), example(25, 15, 1.0, seed=0)
    flow = [law_of(five, weight).information() for weight in (1.0, 2.0, 4.0, 7.0)]
    assert flow == pytest.approx([7.19, 14.59, 28.61, 49.95], abs=0.006)
    assert law_of(fifteen, 7.0).information() == pytest.approx(137.1, abs=0.06)
    reverse = [law_of(five, weight, 1.0).information() for weight in (2.0, 7.0, 21.0)]
    assert reverse == pytest.approx([9.99, 13.66, 16.51], abs=0.006)
    assert law_of(five, 7.0).information(0.1) == pytest.approx(11.7, abs=0.06)


def test_cor_joint_growth_of_matrices():
    """The steps of I_w come ever closer to I_0, and the marginal stays bounded away from singular."""
    joint = random_joint(6, 2, 0.8, seed=4)
    weights = np.array([10.0, 11.0, 40.0, 41.0, 160.0, 161.0])
    laws = [guided(joint, weight) for weight in weights]
    steps = np.diff([law.information() for law in laws])[::2] / joint.information()
    assert np.all(np.diff(np.abs(steps - 1.0)) < 0.0) and abs(steps[-1] - 1.0) < 0.01
    sizes = np.array([np.linalg.eigvalsh(law.marginal)[[0, -1]] for law in laws[::2]])
    assert np.all(np.ptp(sizes, axis=0) < 0.5 * sizes[-1])


def test_thm_joint_line():
    """Closed forms against propagated matrices where covariances commute: three directions, one of them unseen."""
    joint = commuting([0.5, 1.0, 2.0])
    nats = 0.5 * np.log1p(np.array([0.5, 1.0, 2.0]) ** -2)
    for weight in (1.5, 3.0, 8.0):
        for churn in (0.0, 0.2, 1.0):
            law = guided(joint, weight, churn)
            expected = joint.log_determinant + log_shrinkage(nats, weight, churn).sum()
            assert law.log_determinant == pytest.approx(expected, abs=CLOSE)
            assert law.information() == pytest.approx(guided_information(nats, weight, churn).sum(), abs=CLOSE)
            stretched = np.linalg.eigvals(np.linalg.lstsq(joint.gain, law.gain, rcond=None)[0]).real
            np.testing.assert_allclose(np.sort(stretched), np.sort(stretch(nats, weight, churn)), atol=CLOSE)


def test_thm_joint_line_is_a_hypergeometric_function():
    nats, weight = np.array([0.05, 1.0, 3.0]), 6.5
    shared = -np.expm1(-2.0 * nats)
    for churn in (0.1, 0.5, 1.0):
        half = 0.5 * (1.0 + churn)
        spread = np.log(hyp2f1(2.0 * half * (1.0 - weight), 1.0, 1.0 + churn, shared))
        np.testing.assert_allclose(log_shrinkage(nats, weight, churn), spread, rtol=1e-9)
        slope = weight * hyp2f1(half * (1.0 - weight), 1.0, 1.0 + half, shared)
        np.testing.assert_allclose(stretch(nats, weight, churn), slope, rtol=1e-9)


def test_cor_joint_growth():
    """Without noise a unit of w adds I_0; with any of it, a factor of e in w adds half a nat for each direction."""
    nats = 0.7
    steps = np.diff(guided_information(nats, [300.0, 301.0]))
    assert steps == pytest.approx(nats, rel=1e-3)  # what is left of the slope falls like 1/w^2 here
    offset = guided_information(nats, 300.0) - 300.0 * nats
    assert offset == pytest.approx(-0.5 * np.log(-np.expm1(-2.0 * nats)), abs=5e-3)
    for churn in (0.05, 0.3, 1.0):
        grown = np.diff(guided_information(nats, [300.0, 900.0], churn))
        assert grown == pytest.approx(0.5 * np.log(3.0), abs=5e-3)
    joint = random_joint(6, 2, 0.8, seed=4)
    grown = np.diff([guided(joint, weight, 1.0).information() for weight in (40.0, 120.0)])
    assert grown == pytest.approx(2.0 * 0.5 * np.log(3.0), rel=0.05)  # two directions


def test_prop_joint_relation():
    """Strong guidance undoes the channel without its noise: x = y/a, spread over more than the data."""
    joint = observed([[1.0]], [[0.8]], 0.6)
    law = guided(joint, 200.0)
    assert law.gain[0, 0] == pytest.approx(1.0 / 0.8, rel=5e-3)  # of order 1/w
    assert law.marginal[0, 0] == pytest.approx(joint.condition[0, 0] / 0.64, rel=1e-2)
    assert guided(joint, 200.0, 1.0).gain[0, 0] == pytest.approx(1.0 / 0.8, rel=1e-9)  # of order rho^w


def test_prop_joint_floor():
    """Seen in noise of a tenth, the information changes by less than 5% from w = 4 to 15; d_Y = 5 stops first."""
    share = []
    for conditions in (5, 15):
        joint = example(25, conditions, 1.0, seed=0)
        laws = [law_of(joint, weight) for weight in (2.0, 4.0, 7.0, 15.0)]
        seen = np.array([law.information(0.1) for law in laws])
        assert np.abs(seen[1:] / seen[1] - 1.0).max() < 0.05
        assert laws[-1].information() > 14.0 * joint.information()
        share.append(seen[0] / seen[1])
        for law in laws:
            signal = np.linalg.eigvalsh(law.gain @ law.condition @ law.gain.T)
            assert law.information(0.1) <= 0.5 * np.log1p(np.maximum(signal, 0.0) / 0.01).sum()
    assert share[0] > share[1] + 0.05
    pair = observed([[1.0]], [[0.8]], 0.6)
    limit = 0.5 * np.log1p(1.5625 / 0.01)  # u / (1 - rho) is 1 + 0.36/0.64
    assert guided(pair, 400.0).information(0.1) == pytest.approx(limit, abs=5e-3)  # of order 1/w


def test_prop_joint_floor_is_not_in_the_samples():
    """Coarse steps and finite samples do not make the growth stop: covariances of 20000 samples find it."""
    joint = example(25, 5, 1.0, seed=0)
    exact = law_of(joint, 7.0).information()
    coarse = [sampled(joint, 7.0, linear(), np.linspace(1.0, 0.0, steps + 1)).information() for steps in (200, 400)]
    assert exact < coarse[1] < coarse[0]
    x, y = sampled(joint, 7.0, linear(), np.linspace(1.0, 0.0, 401)).samples(20_000, np.random.default_rng(0))
    # The deviation of each of the twenty-five log-variances is sqrt(2/n) or less.
    assert from_samples(x, y) == pytest.approx(coarse[1], abs=4.0 * 5.0 * np.sqrt(2.0 / 20_000))


def test_euler_converges_at_its_order():
    joint = random_joint(5, 2, 0.8, seed=1)
    found = [sampled(joint, 3.0, linear(), np.linspace(1.0, 0.0, steps + 1)) for steps in (2000, 4000, 8000)]
    gaps = np.diff([law.information() for law in found])
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: observed([[1.0, 0.0]], [[1.0]], 1.0),
        lambda: observed([[1.0, 0.5], [0.0, 1.0]], [[1.0, 0.0]], 1.0),
        lambda: observed([[-1.0]], [[1.0]], 1.0),
        lambda: observed([[1.0]], [[1.0, 2.0]], 1.0),
        lambda: observed([[1.0]], [[1.0]], 0.0),
        lambda: random_joint(0, 1, 1.0, 0),
        lambda: guided(observed([[1.0]], [[1.0]], 1.0), 0.5),
        lambda: guided(observed([[1.0]], [[1.0]], 1.0), np.inf),
        lambda: guided(observed([[1.0]], [[1.0]], 1.0), 2.0, 1.5),
        lambda: observed([[1.0]], [[1.0]], 1.0).information(-1.0),
        lambda: observed([[1.0]], [[1.0]], 1.0).information_rate(0.0),
        lambda: guided_information(0.0, 2.0),
        lambda: stretch(1.0, np.nan),
        lambda: log_shrinkage(1.0, 2.0, -0.1),
        lambda: sampled(observed([[1.0]], [[1.0]], 1.0), 2.0, linear(), [0.0, 1.0]),
        lambda: sampled(observed([[1.0]], [[1.0]], 1.0), 2.0, linear(), [1.0]),
        lambda: integrated_covariance(observed([[1.0]], [[1.0]], 1.0), 2.0, 0.0),
    ],
)
def test_bad_input(call):
    with pytest.raises(InputError):
        call()
