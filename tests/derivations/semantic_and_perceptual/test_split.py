"""The theorems on the split: its bound, what it pays for, and the best latents of Gaussian modes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import roots_hermitenorm

from companion.entropy import binary_entropy
from companion.errors import InputError
from derivations.semantic_and_perceptual.gaussian_split import LAST, PERCEPTUAL, SEMANTIC, SPLIT, GaussianSplit, X
from derivations.semantic_and_perceptual.modes import (
    best_shares,
    limit_gain,
    nats,
    perceptual_share,
    resolved,
    semantic_share,
)

DRAW = np.random.default_rng(0)
LAWS = [
    GaussianSplit(*DRAW.uniform([0.2, -3.0, 1.0, 0.05, 0.05], [5.0, 0.5, 5.0, 0.95, 0.95]).tolist()) for _ in range(20)
]
NODES, MASSES = roots_hermitenorm(200)
MASSES /= np.sqrt(2.0 * np.pi)


def test_lem_latents_constants():
    """The constants of SI 67 are differences of entropies of noise: they add up given one state, and not given two."""
    size, low, middle, high = 64, 0.05, 1.0, 400.0

    def constant(begin: float, end: float, given: float) -> float:
        value, _ = quad(lambda q: 0.5 * size / (q - given), begin, end, epsabs=1e-10, epsrel=1e-10, limit=200)
        return value

    whole, parts = constant(low, high, 0.0), (constant(low, middle, 0.0), constant(middle, high, 0.0))
    assert whole == pytest.approx(sum(parts), abs=1e-6)
    near = [constant(middle + step, high, middle) for step in (1e-2, 1e-4, 1e-6)]  # given the state at the split
    assert np.diff(near) == pytest.approx(0.5 * size * np.log(100.0), rel=1e-3)  # without end as the step falls
    assert min(near) > 3.0 * parts[1] / 2.0


def test_thm_latents_bound():
    """What samples of both decoders are worth by SI 70 is never less than their surprise, and mostly more."""
    gaps = [law.bound() - law.surprise() for law in LAWS]
    assert min(gaps) > 0.0 and max(gaps) > 0.05
    blind = GaussianSplit(1.3, 0.0, 2.0, 1e-9, 1e-9)
    assert blind.bound() == pytest.approx(blind.surprise(), abs=1e-7)  # the path is the data's


def test_thm_latents_bound_is_of_the_samples_that_are_drawn():
    """Ancestral steps with the two posterior means, each with its variance, against the law behind `surprise`."""
    law, draw, count = GaussianSplit(1.3, 0.2, 2.0, 0.6, 0.7), np.random.default_rng(3), 200_000
    semantic, perceptual = 0.8, -0.5  # one pair of latents
    q = np.exp(-np.linspace(-12.0, law.last, 141))
    x = np.sqrt(q[0]) * draw.standard_normal(count)
    for now, after in pairwise(q):
        z, share = (semantic, law.semantic) if np.log(1.0 / after) <= law.split + 1e-9 else (perceptual, law.perceptual)
        own, within = share * z, law.variance * (1.0 - share)
        mean = (x * within + own * now) / (within + now)
        clean = mean + np.sqrt(within * now / (within + now)) * draw.standard_normal(count)
        keep = after / now
        x = keep * x + (1.0 - keep) * clean + np.sqrt(after * (1.0 - keep)) * draw.standard_normal(count)
    first = law.gain(SPLIT, (SEMANTIC,))[0]
    onward, own = law.gain(LAST, (SPLIT, PERCEPTUAL))
    variance = law.spread(LAST, (SPLIT, PERCEPTUAL)) + onward**2 * law.spread(SPLIT, (SEMANTIC,))
    expected = onward * first * semantic + own * perceptual
    assert abs(x.mean() - expected) < 5.0 * np.sqrt(variance / count) + 0.01  # the split lies within a step of 0.1
    assert x.var() == pytest.approx(variance, rel=0.02)


def test_thm_latents_paid():
    """The least loss by quadrature of posterior variances against informations by determinants."""
    for law in LAWS:
        paid = law.information(SEMANTIC, SPLIT) + law.information(PERCEPTUAL, LAST, (SPLIT,))
        assert law.loss() == pytest.approx(law.information(X, LAST) - paid, abs=1e-9)
        later = law.information(PERCEPTUAL, LAST) - law.information(PERCEPTUAL, SPLIT)
        assert law.information(PERCEPTUAL, LAST, (SPLIT,)) == pytest.approx(later, abs=1e-9)


def test_thm_latents_paid_of_data_that_are_not_gaussian():
    """X is a sign, both latents are that sign, wrong with a known probability: all by quadrature."""
    split, last = 0.4, 2.5  # signal-to-noise ratios

    def odds(snr: float, prior: float) -> np.ndarray:
        return prior + 2.0 * snr + 2.0 * np.sqrt(snr) * NODES  # log-odds of X = 1, where it is

    def left(snr: float, wrong: float) -> float:
        """H(X | X_snr, Z)."""
        prior = np.log((1.0 - wrong) / wrong)
        cases = (((1.0 - wrong), prior), (wrong, -prior))
        return sum(share * float(MASSES @ binary_entropy(odds(snr, each))) for share, each in cases)

    def error(snr: float, wrong: float) -> float:
        prior = np.log((1.0 - wrong) / wrong)
        cases = (((1.0 - wrong), prior), (wrong, -prior))
        return sum(share * float(MASSES @ (1.0 - np.tanh(0.5 * odds(snr, each)) ** 2)) for share, each in cases)

    def of_latent(snr: float, wrong: float) -> float:
        """I(Z; X_snr)."""
        right = 1.0 / (1.0 + np.exp(-odds(snr, 0.0)))
        says = (1.0 - wrong) * right + wrong * (1.0 - right)
        return float(np.log(2.0) - MASSES @ binary_entropy(np.log(says) - np.log1p(-says)))

    semantic, perceptual = 0.1, 0.3
    early = quad(lambda snr: 0.5 * error(snr, semantic), 0.0, split, epsabs=1e-10)[0]
    late = quad(lambda snr: 0.5 * error(snr, perceptual), split, last, epsabs=1e-10)[0]
    seen = [np.log(2.0) - left(snr, 0.5) for snr in (split, last)]
    # Tanh of 200 Hermite nodes is good to about 1e-6 here.
    assert early == pytest.approx(seen[0] - of_latent(split, semantic), abs=1e-5)
    told = of_latent(last, perceptual) - of_latent(split, perceptual)
    assert late == pytest.approx(seen[1] - seen[0] - told, abs=1e-5)


def test_cor_latents_price():
    """A decoder that sees both latents everywhere could do better, by exactly these two informations."""
    for law in LAWS:
        price = law.information(SPLIT, PERCEPTUAL, (SEMANTIC,)) + law.information(LAST, SEMANTIC, (SPLIT, PERCEPTUAL))
        both = law.entropy(LAST, (SEMANTIC, PERCEPTUAL))
        assert law.bound() - both == pytest.approx(price, abs=1e-9) and price > 0.0


def test_cor_latents_collapse():
    """At a weight of 1 no latent gains anything, whatever its shares; below it, some share does."""
    for law in LAWS:
        for latent, noisy, given in ((SEMANTIC, SPLIT, ()), (PERCEPTUAL, LAST, (SPLIT,))):
            gained = law.information(latent, noisy, given)
            assert 0.0 < gained < law.information(latent, X)
    assert semantic_share(2.0, 8.0, 0.99) > 0.0 == semantic_share(2.0, 2.0, 0.99)


def test_thm_latents_mode():
    """The closed forms against a search over three modes at once, and the water level in nats."""
    variances, split, weight = np.array([3.0, 0.8, 0.1]), 0.3, 0.3

    def loses(x: np.ndarray) -> float:
        r, b = 1.0 / (1.0 + np.exp(-x)), resolved(variances, split)
        return float(np.sum(np.log1p(-r * b) - weight * np.log1p(-r)))

    found = 1.0 / (1.0 + np.exp(-minimize(loses, np.zeros(3), tol=1e-12).x))
    expected = semantic_share(variances, split, weight)
    np.testing.assert_allclose(found, expected, atol=1e-4)  # the last mode is under water: r creeps to 0
    over = np.clip(split + np.log(variances) - np.log(weight / (1.0 - weight)), 0.0, None)
    np.testing.assert_allclose(nats(expected), 0.5 * over, atol=1e-12)
    for at in (0.1, 0.3, 0.7):
        threshold = np.log(at / (1.0 - at)) - np.log(2.0)
        assert semantic_share(2.0, threshold - 1e-6, at) == 0.0 < semantic_share(2.0, threshold + 1e-6, at)


def test_prop_latents_perceptual():
    """The closed form against a grid, also where the best share jumps; its gain near the data's own limit."""
    r = 1.0 / (1.0 + np.exp(-np.linspace(-14.0, 14.0, 200_001)))
    for variance in (0.05, 0.6, 4.0):
        for split in (-3.0, 0.0, 2.0, 4.5):
            for weight in (0.1, 0.4, 0.7):
                a, b = resolved(variance, 6.0), resolved(variance, split)
                gain = 0.5 * (np.log1p(-r * b) - np.log1p(-r * a) + weight * np.log1p(-r))
                share, best = perceptual_share(variance, split, 6.0, weight)
                assert best == pytest.approx(max(gain.max(), 0.0), abs=1e-6)
                assert share == pytest.approx(r[gain.argmax()] if gain.max() > 1e-6 else 0.0, abs=1e-3)
    exact = perceptual_share(2.0, -1.0, 16.0, 0.3)[1]
    assert exact == pytest.approx(float(limit_gain(2.0, -1.0, 16.0, 0.3)), abs=1e-5)  # of the order of e^-16
    variances = np.geomspace(1e-3, 1e3, 60_001)
    preferred = variances[np.argmax(limit_gain(variances, 1.0, 30.0, 0.2))]
    assert preferred == pytest.approx(0.8 / 0.2 * np.exp(-1.0), rel=1e-3)


def test_prop_latents_crossing():
    """Both latents hold a mode equally at one split, whatever its variance, as long as the perceptual one holds it."""
    for weight in (0.05, 0.1, 0.2):
        split = 1.0 + np.log((1.0 - 2.0 * weight) / (2.0 - 2.0 * weight))
        for variance in (0.3, 1.0, 3.0):
            early = [float(semantic_share(variance, split + step, weight)) for step in (-0.01, 0.0, 0.01)]
            late = [float(perceptual_share(variance, split + step, 1.0, weight)[0]) for step in (-0.01, 0.0, 0.01)]
            assert early[1] == pytest.approx(late[1], abs=1e-9) and late[1] > 0.0
            assert early[0] < late[0] and early[2] > late[2]
    given_up = perceptual_share(5.0, 2.0 + np.log(0.6 / 1.6), 2.0, 0.2)[0]
    assert given_up == 0.0  # so there it has let go of the mode before


def test_best_shares_take_the_modes_that_gain_most():
    variances = np.geomspace(4.0, 0.01, 12)
    semantic, perceptual = best_shares(variances, 2.0, 6.0, 0.2, 3)
    assert np.flatnonzero(semantic).tolist() == [0, 1, 2] and np.count_nonzero(perceptual) == 3
    _, gain = perceptual_share(variances, 2.0, 6.0, 0.2)
    assert set(np.flatnonzero(perceptual)) == set(np.argsort(-gain)[:3])


def test_bad_input_is_one_line():
    for call in (
        lambda: semantic_share(-1.0, 0.0, 0.5),
        lambda: semantic_share(1.0, 0.0, 1.0),
        lambda: perceptual_share(1.0, 2.0, 2.0, 0.5),
        lambda: perceptual_share(1.0, 0.0, np.nan, 0.5),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
