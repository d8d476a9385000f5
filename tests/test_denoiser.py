"""The contract: a reader's function behind it, and the digest that tells models apart."""

import pytest
import torch

from companion.denoiser import Denoiser, FunctionDenoiser, digest_of
from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture


def shrink(x, sigma, condition):
    return x / (1.0 + sigma[:, None] ** 2)


def test_a_function_is_called_as_it_is_and_described_by_defaults():
    model = FunctionDenoiser(shrink, shape=(2,), classes=("a", "b"))
    x, sigma = torch.ones(3, 2), torch.ones(3)
    assert torch.equal(model(x, sigma, None), x / 2.0)
    assert model.weights == (0.5, 0.5)
    assert model.has_null is False


def test_a_function_may_know_the_class_means_too():
    def means(noise, condition):
        return torch.zeros_like(noise)

    assert FunctionDenoiser(shrink, shape=(2,), classes=("a", "b")).from_noise is None
    model = FunctionDenoiser(shrink, shape=(2,), classes=("a", "b"), from_noise=means)
    assert torch.equal(model.from_noise(torch.ones(3, 2), None), torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": ()}, "shape is"),
        ({"shape": [2]}, "shape is"),
        ({"shape": (2, 0)}, "shape is"),
        ({"classes": ("a",)}, "classes is"),
        ({"classes": ("a", "a")}, "classes is"),
        ({"weights": (0.5,)}, "weights is"),
        ({"weights": (0.5, 0.6)}, "weights is"),
        ({"weights": (1.0, 0.0)}, "weights is"),
        ({"weights": (1.5, -0.5)}, "weights is"),
        ({"from_noise": 0.5}, "from_noise is 0.5, expected a function"),
    ],
)
def test_bad_descriptions_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        FunctionDenoiser(shrink, **{"shape": (2,), "classes": ("a", "b"), **changes})


def models() -> list[Denoiser]:
    """Annotated, so that the type checker and a reader see that all of them keep the contract."""
    return [
        isotropic_mixture([[-1.0, 0.0], [1.0, 0.0]], 0.5),
        empirical_distribution(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])),
        FunctionDenoiser(shrink, shape=(2,), classes=("a", "b"), has_null=True),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_the_contract(model):
    x = torch.ones(4, *model.shape, dtype=model.dtype, device=model.device)
    sigma = torch.tensor([0.1, 1.0, 2.0, 50.0], dtype=model.dtype)
    assert len(model.weights) == len(model.classes)
    assert sum(model.weights) == pytest.approx(1.0, abs=1e-12)
    assert model.log_snr_range[0] < model.log_snr_range[1]
    assert model.digest
    for condition in (torch.tensor([0, 1, 1, 0]), None):
        prediction = model(x, sigma, condition)
        assert prediction.shape == x.shape
        assert prediction.dtype == model.dtype
        assert bool(torch.isfinite(prediction).all())


def test_the_digest_sees_values_shapes_and_dtypes():
    base = torch.arange(6, dtype=torch.float64)
    others = [base + 1e-15, base.reshape(2, 3), base.float(), base.flip(0)]
    assert digest_of(base) == digest_of(base.clone())
    assert digest_of(base) not in {digest_of(other) for other in others}
    assert digest_of(base[::2]) == digest_of(base[::2].contiguous())
    assert len(digest_of(base, base)) == 16
