"""The exact denoiser of finite data: against the mixture it is, at extreme noise, and on samples."""

import pytest
import torch

from companion.errors import InputError
from companion.exact import empirical
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture

DOUBLE = torch.float64


def images(dtype=DOUBLE, count=60):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, 1, 4, 4, dtype=DOUBLE, generator=generator)
    return points.to(dtype), torch.arange(count) % 3


def as_mixture(points, labels):
    return isotropic_mixture(points.flatten(1), 0.0, component_classes=labels)


def noisy(points, count, sigma):
    generator = torch.Generator().manual_seed(1)
    return points[:count] + sigma * torch.randn(points[:count].shape, dtype=points.dtype, generator=generator)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 30.0, 1000.0])
def test_it_is_the_mixture_of_its_points(sigma):
    points, labels = images()
    data, mixture = empirical_distribution(points, labels), as_mixture(points, labels)
    x, level = noisy(points, 7, sigma), torch.full((7,), sigma, dtype=DOUBLE)
    for condition in (None, torch.full((7,), 2), torch.arange(7) % 3):
        expected = mixture(x.flatten(1), level, condition).reshape(x.shape)
        # The expanded square keeps 16 - 2 log10(|x| / sigma) digits: 1e-8 at sigma = 0.002.
        torch.testing.assert_close(data(x, level, condition), expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(data.posterior(x, level), mixture.posterior(x.flatten(1), level), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.002, 1.0, 1000.0])
def test_float32_points_lose_only_float32_digits(sigma):
    points, labels = images(torch.float32)
    x, level = noisy(points, 7, sigma), torch.full((7,), sigma)
    single = empirical_distribution(points, labels)(x, level, None)
    double = empirical_distribution(points.double(), labels)(x.double(), level.double(), None)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


def test_ends_of_the_noise_axis():
    points, labels = images()
    data = empirical_distribution(points, labels)
    x = noisy(points, 7, 0.002)
    torch.testing.assert_close(data(x, torch.full((7,), 0.002, dtype=DOUBLE), None), points[:7])
    far = data(x, torch.full((7,), 1e6, dtype=DOUBLE), torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(far, points[::3].mean(dim=0).expand(7, -1, -1, -1), rtol=0.0, atol=1e-9)


def test_batches_in_parts_are_the_whole(monkeypatch):
    points, labels = images()
    data = empirical_distribution(points, labels)
    x, level = noisy(points, 7, 1.0), torch.linspace(0.5, 2.0, 7, dtype=DOUBLE)
    whole = data(x, level, None), data.posterior(x, level)
    monkeypatch.setattr(empirical, "_TABLE", 2 * len(points))
    torch.testing.assert_close(data(x, level, None), whole[0])
    torch.testing.assert_close(data.posterior(x, level), whole[1])


def test_samples_are_points_with_their_own_labels():
    points, labels = images()
    data = empirical_distribution(points, labels, classes=("a", "b", "c"))
    drawn, classes = data.sample(200, torch.Generator().manual_seed(0))
    index = (drawn[:, None] == points[None]).flatten(2).all(dim=2).double().argmax(dim=1)
    assert torch.equal(labels[index], classes)
    assert set(classes.tolist()) == {0, 1, 2}
    noised, _ = data.sample_noised(4000, 2.0, torch.Generator().manual_seed(0), condition=1)
    # Variance 4 of the noise + that of the points; a variance of 64 000 normal numbers has relative error 0.6 %.
    assert float(noised.var()) == pytest.approx(4.0 + float(points[labels == 1].var()), rel=0.03)


def test_samples_are_drawn_from_the_generator_that_is_given():
    data, before = empirical_distribution(*images()), torch.get_rng_state()
    first, again, other = (data.sample_noised(9, 0.5, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)
    origin = empirical_distribution(torch.zeros(2, 9, dtype=DOUBLE), torch.tensor([0, 1]))
    noise, _ = origin.sample_noised(9, 1.0, torch.Generator().manual_seed(3))
    assert not torch.equal(noise, noise.float().double())  # float64 noise, not float32 in float64


def test_samples_of_a_class_are_drawn_evenly_from_its_points():
    """Of 100 points a class: each within five deviations of 4000 / 100 draws; of all points, a class by its share."""
    points, labels = torch.arange(300.0)[:, None], torch.tensor([0] * 100 + [1] * 200)
    data = empirical_distribution(points, labels)
    drawn, classes = data.sample(4000, torch.Generator().manual_seed(0), condition=0)
    counts = torch.bincount(drawn[:, 0].long(), minlength=300)
    assert set(classes.tolist()) == {0} and int(counts[100:].sum()) == 0
    assert float((counts[:100] - 40).abs().max()) < 5.0 * 40.0**0.5
    _, classes = data.sample(4000, torch.Generator().manual_seed(1))
    assert abs(float(classes.double().mean()) - 2.0 / 3.0) < 4.5 * (2.0 / 9.0 / 4000) ** 0.5


def test_it_describes_itself():
    points, labels = images(torch.float32, 61)
    data = empirical_distribution(points, labels, name="pictures")
    assert (data.shape, data.dtype, data.classes, data.name) == ((1, 4, 4), torch.float32, ("0", "1", "2"), "pictures")
    assert data.weights == pytest.approx((21 / 61, 20 / 61, 20 / 61)) and data.has_null


def test_digest_sees_points_and_labels():
    points, labels = images()
    base = empirical_distribution(points, labels).digest
    assert base == empirical_distribution(points, labels).digest
    assert base != empirical_distribution(points + 1e-9, labels).digest
    assert base != empirical_distribution(points, torch.tensor([2, *labels[1:].tolist()])).digest


@pytest.mark.parametrize(
    ("points", "labels", "says"),
    [
        (torch.zeros(3), torch.tensor([0, 1, 1]), "points is"),
        (torch.zeros(3, 1, dtype=torch.int64), torch.tensor([0, 1, 1]), "points is"),
        (torch.full((3, 1), torch.inf), torch.tensor([0, 1, 1]), "points is"),
        (torch.zeros(3, 1), torch.tensor([0, 1]), "labels is"),
        (torch.zeros(3, 1), torch.tensor([0, 0, 2]), "labels is"),
        (torch.zeros(3, 1), torch.tensor([0, 0, 0]), "labels is"),
    ],
)
def test_bad_input_is_refused(points, labels, says):
    with pytest.raises(InputError, match=says):
        empirical_distribution(points, labels)


def test_unknown_class_is_refused():
    points, labels = images()
    with pytest.raises(InputError, match="condition is 3"):
        empirical_distribution(points, labels)(points[:1], torch.ones(1, dtype=DOUBLE), torch.tensor([3]))
