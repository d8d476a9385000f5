"""A trained diffusers `UNet2DModel` behind the denoiser contract, from a folder that `save_pretrained` wrote.

The network lives in its own frame x_model = alpha x_0 + sigma_model eps and is told a timestep; the contract speaks of
x = x_0 + sigma eps. Dividing the first by alpha gives the second, so sigma = sigma_model / alpha, log-snr = -2 log
sigma, and with snr = 1 / sigma^2

    variance preserving:  alpha^2 = snr / (1 + snr),  sigma_model^2 = 1 / (1 + snr)
    rectified flow:       alpha = 1 / (1 + sigma),    sigma_model = sigma / (1 + sigma)

The noise schedule enters only as the clock, the table of log-snr over timesteps, which is inverted by linear
interpolation (in a flow, exactly): the sinusoidal embedding of a timestep takes fractions. What the network says
becomes the posterior mean D, everything being one object (Tweedie; ID 11, SI 37):

    sample:     D = output                                       v_prediction:  D = alpha x_model - sigma_model output
    epsilon:    D = (x_model - sigma_model output) / alpha       flow:          D = x_model - sigma_model output

A folder is a pipeline's (`unet/` and `scheduler/`) or a model's, with `scheduler_config.json` in it or in `scheduler/`
beside it. The last row of the class embedding is the null class. A `companion.json` in the folder may say otherwise:
`{"name": ..., "classes": [...], "weights": [...], "has_null": true}`, each key optional.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from tqdm import TqdmWarning

from companion.denoiser import digest_of
from companion.errors import InputError

with warnings.catch_warnings():
    # In a notebook without widgets diffusers would have its progress bars announced as missing; none is ever shown.
    warnings.simplefilter("ignore", TqdmWarning)
    import diffusers

__all__ = ["SHIPPED", "UNetDenoiser", "load"]

SHIPPED = ("digits",)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UNetDenoiser:
    """A class-conditional `UNet2DModel` as D(x, sigma | condition); `load` makes one.

    `clock` holds the log-snr, decreasing, of the `timesteps` of the schedule, both float64; `prediction` is epsilon,
    sample, v_prediction or flow; `fractional` says whether the network takes fractions of a timestep.
    `condition=None` calls the last row of the class embedding.

    >>> model = load("digits")
    >>> model(torch.zeros(2, 1, 8, 8), torch.ones(2), torch.tensor([3, 8])).shape
    torch.Size([2, 1, 8, 8])
    """

    network: torch.nn.Module
    timesteps: Array
    clock: Array
    prediction: str
    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: tuple[float, ...]
    has_null: bool
    fractional: bool
    digest: str

    @property
    def log_snr_range(self) -> tuple[float, float]:
        """The log-snr of the last and of the first timestep; a last one without any signal is left out."""
        return float(self.clock[-1]), float(self.clock[0])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's weights."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    def timestep(self, log_snr: ArrayLike) -> Array:
        """The timestep that the network is told at a log-snr, of any shape: a fraction where the network takes one.

        A network with a learned table of time embeddings knows whole timesteps only, and is told the nearest.
        Raises InputError outside `log_snr_range`.

        >>> float(load("digits").timestep(0.0).round(1))
        258.1
        """
        asked = np.asarray(log_snr, dtype=np.float64)
        lowest, highest = self.log_snr_range
        # sigma arrives in float32, which puts the ends of the range off by a few units in the seventh digit.
        outside = ~((asked >= lowest - 1e-4) & (asked <= highest + 1e-4))
        if np.any(outside):
            expected = f"{lowest:.6g} to {highest:.6g}, what {self.name} was trained on"
            raise InputError("log-snr", f"{asked[outside].flat[0]:.6g}", expected)
        if self.prediction == "flow":
            times = (self.timesteps[-1] + 1.0) * _frame(asked, "flow")[1]
        else:
            times = np.interp(asked, self.clock[::-1], self.timesteps[::-1])
        told: Array = times if self.fractional else np.rint(times)
        return told

    def log_snr_used(self, log_snr: ArrayLike) -> Array:
        """The log-snr whose timestep the network is really told: the one asked for, or the nearest it knows.

        >>> float(load("digits").log_snr_used(0.3))
        0.3
        """
        used: Array = np.interp(self.timestep(log_snr), self.timesteps, self.clock)
        return np.asarray(log_snr, dtype=np.float64) if self.fractional else used

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """The posterior mean D, (batch, *shape), in the dtype of `x`.

        Raises InputError for a class outside 0 to K-1, for None without a null class, and for noise outside the range.
        """
        if condition is None:
            if not self.has_null:
                raise InputError("condition", None, f"a class: {self.name} has no null class")
            condition = torch.full((len(x),), len(self.classes), device=x.device)
        elif not torch.all((condition >= 0) & (condition < len(self.classes))):
            raise InputError("condition", condition.tolist(), f"classes from 0 to {len(self.classes) - 1}")
        log_snr = -2.0 * np.log(sigma.detach().cpu().double().numpy())
        alpha_values, noise_values = _frame(log_snr, self.prediction)
        alpha, noise = (_per_sample(values, x) for values in (alpha_values, noise_values))
        times = torch.from_numpy(self.timestep(log_snr)).to(x.device, self.dtype if self.fractional else torch.int64)

        state = alpha * x
        output = self.network(state.to(self.dtype), times, class_labels=condition, return_dict=False)[0]
        mean: torch.Tensor = output[:, : x.shape[1]].to(x.dtype)  # learned variances are further channels
        if self.prediction == "epsilon":
            mean = x - _per_sample(noise_values / alpha_values, x) * mean
        elif self.prediction == "v_prediction":
            mean = alpha * state - noise * mean
        elif self.prediction == "flow":
            mean = state - noise * mean
        return mean


def _frame(log_snr: Array, prediction: str) -> tuple[Array, Array]:
    """alpha and sigma of the model's own frame."""
    if prediction == "flow":
        return 1.0 / (1.0 + np.exp(-0.5 * log_snr)), 1.0 / (1.0 + np.exp(0.5 * log_snr))
    return (1.0 + np.exp(-log_snr)) ** -0.5, (1.0 + np.exp(log_snr)) ** -0.5


def _per_sample(values: Array, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(x.device, x.dtype).reshape(-1, *(1,) * (x.dim() - 1))


def load(model: str | Path, device: str | torch.device = "cpu") -> UNetDenoiser:
    """A shipped model by its name ("digits"), or any `UNet2DModel` from the folder that `save_pretrained` wrote.

    Nothing is downloaded and nothing is unpickled. Raises InputError when `model` is neither, when the weights are
    pickled, missing, truncated or of another shape than the configuration, and when network or scheduler are of a kind
    that has no place behind the contract.

    >>> load("digits").classes
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    folder = Path(__file__).parent / "weights" / str(model) if str(model) in SHIPPED else Path(model)
    if not folder.is_dir():
        raise InputError("model", model, f"a shipped model ({', '.join(SHIPPED)}) or a folder save_pretrained wrote")
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    network = _network(inner).to(device)
    timesteps, clock, prediction = _schedule(inner)
    stored = _json(folder / "companion.json") if (folder / "companion.json").exists() else {}

    config: Any = network.config
    for key, kind in (("name", str), ("classes", list), ("weights", list), ("has_null", bool)):
        if not isinstance(stored.get(key, kind()), kind):
            raise InputError(f"{key} in companion.json", stored[key], f"a value of type {kind.__name__}")
    has_null = stored.get("has_null", True)
    count = config.num_class_embeds - has_null
    if count < 2:
        least = "3, two classes and the null class" if has_null else "2"
        raise InputError("num_class_embeds", config.num_class_embeds, f"at least {least}")
    classes = tuple(str(name) for name in stored.get("classes", range(count)))
    weights = tuple(stored.get("weights", [1.0 / count] * count))
    if len(classes) != count or len(set(classes)) != count:
        raise InputError("classes", classes, f"{count} different names, one for each class embedding but the null one")
    positive = all(isinstance(weight, (int, float)) and weight > 0.0 for weight in weights)
    if len(weights) != count or not positive or abs(sum(weights) - 1.0) > 1e-9:
        raise InputError("weights", weights, f"{count} positive probabilities that sum to one")
    size = config.sample_size if isinstance(config.sample_size, (tuple, list)) else (config.sample_size,) * 2
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError("sample_size", config.sample_size, "the height and width of a sample in the configuration")
    halved = 2 ** (len(config.block_out_channels) - 1)  # by every block of the network but the last
    if any(side % halved for side in size):
        raise InputError("sample_size", config.sample_size, f"a height and a width that are multiples of {halved}")
    if config.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise InputError("out_channels", config.out_channels, f"{config.in_channels}, or twice that")
    # As stored, because another version of diffusers may know further options.
    written = {key: value for key, value in sorted(_json(inner / "config.json").items()) if not key.startswith("_")}
    return UNetDenoiser(
        network=network,
        timesteps=timesteps,
        clock=clock,
        prediction=prediction,
        name=str(stored.get("name", folder.resolve().name)),
        shape=(config.in_channels, *size),
        classes=classes,
        weights=weights,
        has_null=has_null,
        fractional=config.time_embedding_type == "positional",
        digest=digest_of(
            *(value for _, value in sorted(network.state_dict().items())),
            torch.from_numpy(clock),
            torch.frombuffer(bytearray(json.dumps([prediction, written]).encode()), dtype=torch.uint8),
        ),
    )


def _network(folder: Path) -> torch.nn.Module:
    config = _json(folder / "config.json")
    kind, embeddings = config.get("_class_name"), config.get("num_class_embeds")
    if kind != "UNet2DModel":
        raise InputError("model", kind, "a UNet2DModel")
    if embeddings is None or config.get("class_embed_type") is not None:
        raise InputError("num_class_embeds", embeddings, "a network with one embedding for each class")
    if config.get("time_embedding_type", "positional") not in ("positional", "learned"):
        raise InputError("time_embedding_type", config["time_embedding_type"], "positional or learned")
    _check_weights(folder)
    try:
        # Depending on what else is installed, the network is drawn at random before it is filled; nobody should notice.
        with torch.random.fork_rng(devices=[]):
            network, report = diffusers.UNet2DModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise InputError("model", folder, f"weights and configuration that fit ({_first_line(error)})") from None
    wrong = [*report["missing_keys"], *report["unexpected_keys"]]
    if wrong:
        raise InputError("model", folder, f"weights and configuration that fit ({wrong[0]} is only in one of them)")
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _check_weights(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path for kind in ("bin", "pt", "pth", "ckpt", "pkl") for path in folder.glob(f"*.{kind}"))
    if not files and pickles:
        raise InputError("weights", pickles[0], "safetensors: a pickle can run code when it is read, so none is")
    if not files:
        raise InputError("weights", folder, "a folder that holds a .safetensors file")
    for path in files:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise InputError("weights", path, f"a whole safetensors file ({_first_line(error)})") from None


def _schedule(folder: Path) -> tuple[Array, Array, str]:
    """The timesteps that have both signal and noise, their log-snr, and the kind of prediction."""
    places = (folder, folder / "scheduler", folder.parent / "scheduler")
    found = [place for place in places if (place / "scheduler_config.json").is_file()]
    if not found:
        raise InputError("scheduler", folder, "scheduler_config.json in the folder, or in scheduler/ beside it")
    config = _json(found[0] / "scheduler_config.json")
    kind = str(config.get("_class_name"))
    if kind == "FlowMatchEulerDiscreteScheduler":
        count = config.get("num_train_timesteps", 1000)
        if not isinstance(count, int) or count < 3:
            raise InputError("num_train_timesteps", count, "a whole number, at least 3")
        timesteps = np.arange(1.0, count)
        return timesteps, 2.0 * np.log((count - timesteps) / timesteps), "flow"
    try:
        scheduler = getattr(diffusers, kind).from_config(config)
        alphas_cumprod = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)
    except Exception as error:
        raise InputError(
            "scheduler", kind, f"a scheduler of diffusers with alphas_cumprod ({_first_line(error)})"
        ) from None
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "sample", "v_prediction"):
        raise InputError("prediction_type", prediction, "epsilon, sample or v_prediction")
    if config.get("timestep_type", "discrete") != "discrete":
        raise InputError("timestep_type", config["timestep_type"], "discrete")
    with np.errstate(divide="ignore", invalid="ignore"):
        clock = np.log(alphas_cumprod) - np.log1p(-alphas_cumprod)
    clock = clock[: len(clock) - int(np.sum(np.isneginf(clock)))]  # a rescaled schedule ends without any signal
    if len(clock) < 2 or not np.all(np.isfinite(clock)) or not np.all(np.diff(clock) < 0):
        raise InputError("scheduler", found[0], "noise that grows from each timestep to the next")
    return np.arange(float(len(clock))), clock, prediction


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("model", path.parent, f"a folder that holds {path.name}") from None
    except ValueError as error:
        raise InputError("model", path, f"a readable JSON file ({_first_line(error)})") from None
    if not isinstance(content, dict):
        raise InputError("model", path, "a JSON object")
    return content


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
