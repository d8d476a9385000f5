"""The denoiser contract: the one call through which every model, exact or trained, reaches an estimator.

A denoiser is the posterior mean of the data in the variance-exploding frame,

    D_z(x, sigma) = E[ x_0 | x_0 + sigma eps = x, Z = z ],    eps ~ N(0, I)

which holds the same information as the score, s = (D - x) / sigma^2, and as the predicted noise, eps = (x - D) / sigma
(Tweedie's formula; ID 11, SI 37).

Two further attributes are optional; a model without one leaves it out or sets it to None:

- `from_noise(noise, condition)` is D at snr 0, for a network that was trained without any signal at its last timestep
  (zero terminal snr, a flow at t = 1). The contract's sigma is infinite there; the network's own state is unit noise,
  `noise` (batch, *shape), which tells nothing of the sample, so D is the class mean E[x_0 | Z = z].
- `decode(D)` turns latents (batch, *shape) into images (batch, 3, height, width), about -1 to 1, for drawing only.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from companion.arguments import probabilities
from companion.errors import InputError

__all__ = ["Denoiser", "FunctionDenoiser", "digest_of"]


class Denoiser(Protocol):
    """What an estimator needs of a model: a conditional posterior mean, and the few facts that describe it.

    `model(x, sigma, condition)` returns D of shape (batch, *shape) and of the dtype of `x`, where `x` is
    (batch, *shape), `sigma` is (batch,), and `condition` is an int64 tensor (batch,) of classes 0 to K-1, or None for
    the model's own unconditional branch, which `has_null` allows. Each sample's D depends on that sample alone. What
    cannot be asked raises InputError, or gives NaN on a device where a look at the numbers would make the program wait.

    `name` is what a person calls the model, `shape` that of one sample; `classes` are the names of the K classes and
    `weights` their prior probabilities, which sum to one. States are handed to it on `device`, in `dtype`, at a log-snr
    inside `log_snr_range`. `digest` is a hash that changes when the predictions can; results carry it.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> model: Denoiser = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> x, sigma = torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    >>> model(x, sigma, torch.tensor([0, 1])).flatten().tolist(), model(x, sigma, None).flatten().tolist()
    ([-1.0, 1.0], [0.0, 0.0])
    """

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def weights(self) -> tuple[float, ...]: ...
    @property
    def has_null(self) -> bool: ...
    @property
    def log_snr_range(self) -> tuple[float, float]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def digest(self) -> str: ...
    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor: ...


@dataclass(frozen=True)
class FunctionDenoiser:
    """A reader's own function behind the contract: D = function(x, sigma, condition).

    `function` takes x (batch, *shape), sigma (batch,) and condition, an int64 tensor (batch,) or None, and returns the
    posterior mean E[x_0 | x_0 + sigma eps = x, condition]. A function that handles None says so with `has_null=True`.
    `digest` may name the version of the function, so that results of two versions are told apart.

    With `condition_shape` the condition is no class but a float tensor (batch, *condition_shape), and None asks for the
    marginal posterior mean, which `function` then has to handle; there are no classes.

    Raises InputError for a shape that is not a tuple of positive lengths, fewer than two classes, weights that are not
    K probabilities, or a `from_noise` that cannot be called. What `function` returns is checked by `examine`.

    >>> def pulled_to_class_mean(x, sigma, condition):   # two points at -1 and +1
    ...     return (2.0 * condition - 1.0).reshape(-1, 1).expand_as(x).to(x.dtype)
    >>> model = FunctionDenoiser(pulled_to_class_mean, shape=(1,), classes=("left", "right"))
    >>> model(torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1])).flatten().tolist()
    [-1.0, 1.0]
    """

    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    has_null: bool = False
    log_snr_range: tuple[float, float] = (-14.0, 14.0)
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    name: str = "function"
    digest: str = "unversioned"
    from_noise: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None
    condition_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not _lengths(self.shape) or not self.shape:
            raise InputError("shape", self.shape, "the shape of one sample, a tuple of positive lengths")
        if self.condition_shape is not None:
            if self.classes or not _lengths(self.condition_shape):
                raise InputError("condition_shape", self.condition_shape, "a tuple of lengths, beside no classes")
            return
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise InputError("classes", self.classes, "at least two class names, all different")
        if not self.weights:
            object.__setattr__(self, "weights", (1.0 / len(self.classes),) * len(self.classes))
        probabilities("weights", self.weights, count=len(self.classes))
        if self.from_noise is not None and not callable(self.from_noise):
            raise InputError("from_noise", self.from_noise, "a function of noise and condition, or None")

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return self.function(x, sigma, condition)


def _lengths(shape: object) -> bool:
    return isinstance(shape, tuple) and all(isinstance(length, int) and length >= 1 for length in shape)


def digest_of(*tensors: torch.Tensor) -> str:
    """The first 16 hex digits of the SHA-256 of tensors' dtypes, shapes and bytes.

    >>> digest_of(torch.zeros(2)) == digest_of(torch.zeros(2)) != digest_of(torch.zeros(3))
    True
    """
    total = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        total.update(f"{array.dtype}{tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
