"""Reading what other people's code wrote: folders of `save_pretrained`, safely, with one-line refusals.

Nothing is downloaded. A pickle can run code when it is read, so none is read unless `allow_pickle` asks for it.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tqdm import TqdmWarning

from companion.denoiser import digest_of
from companion.errors import InputError

with warnings.catch_warnings():
    # In a notebook without widgets diffusers would have its progress bars announced as missing; none is ever shown.
    warnings.simplefilter("ignore", TqdmWarning)
    import diffusers

__all__ = [
    "Description",
    "check_weights",
    "described",
    "diffusers",
    "digest_of_network",
    "first_line",
    "load_network",
    "read_json",
    "refuse_distilled",
    "variant_of",
]

_NO_POSTERIOR_MEAN = (
    "a model of E[x_0 | x]; one that was distilled, or trained on guided outputs, answers with a sample or a guided "
    "mean, and no posterior follows from either"
)
_DISTILLED_SCHEDULERS = (
    "CMStochasticIterativeScheduler",
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LCMScheduler",
    "SCMScheduler",
    "TCDScheduler",
)
_DISTILLED_PIPELINES = re.compile(r"^(Flux|LatentConsistency|ConsistencyModel|SanaSprint)")
_DISTILLED_WORDS = {"turbo", "lcm", "tcd", "lightning", "hyper", "schnell", "distilled", "dmd", "dmd2"}


@dataclass(frozen=True)
class Description:
    """What a person may say of a model, in `companion.json` or by arguments: its name, its classes, their weights."""

    name: str
    classes: tuple[str, ...]
    weights: tuple[float, ...]
    has_null: bool


def described(
    stored: Mapping[str, Any],
    name: str,
    classes: Iterable[object],
    weights: Sequence[float] = (),
    has_null: bool = True,
) -> Description:
    """`stored`, the content of a `companion.json`, over what is known without it.

    Raises InputError for a value of another type, for names that are not one for each class and all different, and for
    weights that are not positive and of sum one. Weights that nobody gives are equal.

    >>> described({"name": "mine"}, "folder", range(2))
    Description(name='mine', classes=('0', '1'), weights=(0.5, 0.5), has_null=True)
    """
    for key, kind in (("name", str), ("classes", list), ("weights", list), ("has_null", bool)):
        if not isinstance(stored.get(key, kind()), kind):
            raise InputError(f"{key} in companion.json", stored[key], f"a value of type {kind.__name__}")
    known = [str(each) for each in classes]
    names = tuple(str(each) for each in stored.get("classes", known))
    if len(names) != len(known) or len(set(names)) != len(names):
        raise InputError("classes", names, f"{len(known)} different names, one for each class the network knows")
    shares = tuple(stored.get("weights", weights) or [1.0 / len(names)] * len(names))
    positive = all(isinstance(share, (int, float)) and share > 0.0 for share in shares)
    if len(shares) != len(names) or not positive or abs(sum(shares) - 1.0) > 1e-9:
        raise InputError("weights", shares, f"{len(names)} positive probabilities that sum to one")
    return Description(str(stored.get("name", name)), names, shares, bool(stored.get("has_null", True)))


def refuse_distilled(name: str, scheduler: str, config: Mapping[str, Any], pipeline: str = "") -> None:
    """InputError for a model that is no posterior mean: distilled into few steps, or trained on guided outputs.

    It shows in the scheduler that is written for such models, in a network that is told a guidance scale
    (`guidance_embeds`, `time_cond_proj_dim`), in the pipeline, or only in the name. A distilled network that none of
    these tells from its teacher passes.

    >>> refuse_distilled("sd-turbo", "EulerDiscreteScheduler", {})
    Traceback (most recent call last):
        ...
    companion.errors.InputError: model is sd-turbo, a distilled model by its name (or a folder to rename), expected ...
    """
    if scheduler in _DISTILLED_SCHEDULERS:
        raise InputError("scheduler", scheduler, _NO_POSTERIOR_MEAN)
    if _DISTILLED_PIPELINES.match(pipeline):
        raise InputError("model", f"a {pipeline}", _NO_POSTERIOR_MEAN)
    for key in ("guidance_embeds", "time_cond_proj_dim"):
        if config.get(key):
            raise InputError("model", f"told a guidance scale ({key})", _NO_POSTERIOR_MEAN)
    for said in (name, str(config.get("_name_or_path", ""))):
        if _DISTILLED_WORDS & set(re.split(r"[^a-z0-9]+", said.lower())):
            raise InputError(
                "model", f"{said}, a distilled model by its name (or a folder to rename)", _NO_POSTERIOR_MEAN
            )


def load_network(kind: type, folder: Path, dtype: torch.dtype = torch.float32, allow_pickle: bool = False) -> Any:
    """A network of class `kind` from the folder that `save_pretrained` wrote, in eval mode, its weights frozen.

    Raises InputError for weights that are missing, truncated, pickled (unless `allow_pickle`) or not those of the
    configuration.
    """
    safe = check_weights(folder, allow_pickle)
    try:
        # Depending on what else is installed, the network is drawn at random before it is filled; nobody should notice.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch_dtype is called dtype in later versions
            network, report = kind.from_pretrained(  # type: ignore[attr-defined]
                folder,
                use_safetensors=safe,
                variant=variant_of(folder),
                local_files_only=True,
                output_loading_info=True,
                torch_dtype=dtype,
            )
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise InputError("model", folder, f"weights and configuration that fit ({first_line(error)})") from None
    wrong = [*report["missing_keys"], *report["unexpected_keys"]]
    if wrong:
        raise InputError("model", folder, f"weights and configuration that fit ({wrong[0]} is only in one of them)")
    return network.eval().requires_grad_(False)


def check_weights(folder: Path, allow_pickle: bool = False) -> bool:
    """Whether a folder's weights are safetensors, all of them whole; InputError unless they are, or may be pickles."""
    files = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path for kind in ("bin", "pt", "pth", "ckpt", "pkl") for path in folder.glob(f"*.{kind}"))
    if not files and pickles and not allow_pickle:
        raise InputError("weights", pickles[0], "safetensors: a pickle can run code when it is read, so none is")
    if not files and not pickles:
        raise InputError("weights", folder, "a folder that holds a .safetensors file")
    for path in files:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise InputError("weights", path, f"a whole safetensors file ({first_line(error)})") from None
    return bool(files)


def variant_of(folder: Path) -> str | None:
    """ "fp16" for a folder whose weights are in files of that name only, as downloads in half precision are."""
    files = [path.name for kind in ("safetensors", "bin") for path in folder.glob(f"*.{kind}")]
    return "fp16" if files and all(".fp16" in name for name in files) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; InputError, in one line, when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("model", path.parent, f"a folder that holds {path.name}") from None
    except ValueError as error:
        raise InputError("model", path, f"a readable JSON file ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise InputError("model", path, "a JSON object")
    return content


def digest_of_network(network: torch.nn.Module, *tensors: torch.Tensor, told: object) -> str:
    """The digest of a network's weights and buffers, of further tensors, and of `told`, what JSON can write."""
    text = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
    return digest_of(*(value for _, value in sorted(network.state_dict().items())), *tensors, text)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
