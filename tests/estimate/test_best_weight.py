"""The weight that real data ask for: one for the law itself, and known for a model with a known defect."""

import numpy as np
import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.errors import InputError
from companion.estimate.best_weight import best_weight
from companion.estimate.plan import Data
from companion.exact.mixtures import isotropic_mixture
from companion.guidance import guided

THREE = isotropic_mixture([[-2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], [0.5, 1.0, 0.5], [0.5, 0.3, 0.2])
LEVELS = np.linspace(-4.0, 2.0, 4)


def drawn(count, seed):
    samples, labels = THREE.sample(count, torch.Generator().manual_seed(seed))
    return Data(samples, labels.numpy())


def defective(branch, law=THREE):
    return FunctionDenoiser(branch, (2,), law.classes, law.weights, has_null=True, dtype=torch.float64)


def conditioned_weakly(share):
    """Every class's D moved towards the null branch: D_c - D_0 is (1 - share) of what it should be."""

    def branch(x, sigma, condition):
        null = THREE(x, sigma, None)
        return null if condition is None else null + (1.0 - share) * (THREE(x, sigma, condition) - null)

    return defective(branch)


def test_a_law_asks_for_no_guidance_and_the_errors_are_errors():
    """Twelve sets of 400 samples: 48 deviations in units of their errors; their mean square has an error of 0.2."""
    found = [best_weight(THREE, drawn(400, seed), LEVELS, seed) for seed in range(12)]
    deviations = np.array([(each.weight - 1.0) / each.weight_se for each in found])
    assert abs(deviations.mean()) < 4.0 / np.sqrt(48.0)
    assert 0.4 < (deviations**2).mean() < 1.9
    gains = np.array([each.gain for each in found])
    assert np.all(np.abs(gains.mean(axis=0)) < 4.5 * gains.std(axis=0, ddof=1) / np.sqrt(12.0))


@pytest.mark.parametrize("share", [0.3, -0.2])
def test_weak_conditioning_asks_for_its_inverse(share):
    data = drawn(3000, 1)
    found, exact = (best_weight(model, data, LEVELS, 2) for model in (conditioned_weakly(share), THREE))
    assert np.all(np.abs(found.weight - 1.0 / (1.0 - share)) < 4.0 * found.weight_se)
    # The same noise through both: the two ratios are one but for the factor, to rounding.
    np.testing.assert_allclose(found.weight, exact.weight / (1.0 - share), rtol=1e-9)
    np.testing.assert_allclose(found.spread, exact.spread * (1.0 - share) ** 2, rtol=1e-9)
    known = 0.5 * np.exp(LEVELS) * ((found.weight - 1.0) ** 2 - found.weight_se**2) * found.spread
    np.testing.assert_allclose(found.gain, known, rtol=1e-9)


def test_the_weight_minimises_the_loss_on_the_same_noise():
    """A leak of the other classes: on a parabola through three weights, the least loss is at the weight found."""
    leak, weights, samples = 0.3, np.array(THREE.weights), 200

    def leaked(x, sigma, condition):
        whole = THREE(x, sigma, None)
        if condition is None:
            return whole
        c = int(condition[0])
        share = leak * weights[c] / (leak * weights[c] + (1.0 - leak) * THREE.posterior(x, sigma).exp()[:, c : c + 1])
        return torch.lerp(THREE(x, sigma, condition), whole, share)

    seen = []

    def kept(x, sigma, condition):
        seen.append((x, sigma, condition))
        return leaked(x, sigma, condition)

    data = drawn(samples, 3)
    found = best_weight(defective(kept), data, LEVELS, 4)
    asked = [each for each in seen if each[2] is not None]  # all levels of class 0, then those of 1 and of 2
    for number, weight in enumerate(found.weight):
        losses = []
        for tried in (0.0, 1.0, 2.0):
            loss = 0.0
            for label in range(3):
                x, sigma, condition = asked[label * len(LEVELS) + number]
                null, clean = leaked(x, sigma, None), data.samples[data.of(label)]
                loss += float((clean - torch.lerp(null, leaked(x, sigma, condition), tried)).square().sum())
            losses.append(loss)
        bend = losses[0] - 2.0 * losses[1] + losses[2]
        assert weight == pytest.approx(1.0 - 0.5 * (losses[2] - losses[0]) / bend, abs=1e-8)
        assert weight > 1.0
    assert len(seen) == 2 * 3 * len(LEVELS)


def test_noise_belongs_to_the_sample():
    data = drawn(320, 5)  # more than a block of one class, and more samples change nothing for these
    order = np.argsort(data.labels, kind="stable")
    alone = best_weight(THREE, data, LEVELS)
    assert np.array_equal(alone.weight, best_weight(THREE, data, LEVELS).weight)
    assert not np.array_equal(alone.weight, best_weight(THREE, data, LEVELS, 1).weight)
    sorted_data = Data(data.samples[order], data.labels[order])
    assert not np.array_equal(alone.weight, best_weight(THREE, sorted_data, LEVELS).weight)  # other noise for each


def test_bad_input():
    data = drawn(10, 0)
    without_null = FunctionDenoiser(lambda x, sigma, z: x, (2,), ("a", "b", "c"), dtype=torch.float64)
    alike = defective(lambda x, sigma, z: 0.5 * x)
    for model, given, levels, said in [
        (guided(THREE, 2.0), data, LEVELS, "guided"),
        (without_null, data, LEVELS, "the null branch is asked for"),
        (THREE, Data(data.samples[:, :1], data.labels), LEVELS, r"samples of data is of shape \(10, 1\)"),
        (THREE, Data(data.samples[:1], data.labels[:1]), LEVELS, "at least two samples"),
        (THREE, Data(data.samples, data.labels - 1), LEVELS, "classes from 0 to 2"),
        (THREE, Data(data.samples, data.labels + 1), LEVELS, "classes from 0 to 2"),
        (alike, data, LEVELS, "branches that differ"),
        (THREE, data, [1.0, 0.0], "increasing levels"),
    ]:
        with pytest.raises(InputError, match=said):
            best_weight(model, given, levels)
