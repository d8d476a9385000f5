"""Reading what other people's code wrote: folders of `save_pretrained`, safely, with one-line refusals.

Nothing is downloaded. A pickle can run code when it is read, so none is read unless `allow_pickle` asks for it. Where
a folder holds weights in several files, the plain one is read (of published weights the averaged ones); without it the
only variant there is, such as `fp16`, `bf16` or `non_ema`; each part of a pipeline by itself.
"""

import inspect
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tqdm import TqdmWarning

from companion.arguments import composed, probabilities
from companion.denoiser import digest_of
from companion.errors import InputError, foreign

with warnings.catch_warnings():
    # In a notebook without widgets diffusers would have its progress bars announced as missing; none is ever shown.
    warnings.simplefilter("ignore", TqdmWarning)
    import diffusers

__all__ = ["check_files", "check_finite", "check_size", "described", "diffusers", "digest_of_network"]
__all__ += ["home", "load_network", "name_of", "read_json", "refuse_distilled", "sides", "stored_description"]

_NO_POSTERIOR_MEAN = (
    "a model of E[x_0 | x]; one that was distilled, or trained on guided outputs, answers with a sample or a guided "
    "mean, and no posterior follows from either"
)
_DISTILLED_SCHEDULERS = re.compile(r"^(CMStochasticIterative|FlowMapEulerDiscrete|FlowMatchLCM|LCM|SCM|TCD)Scheduler$")
_DISTILLED_PIPELINES = re.compile(r"^(Flux|LatentConsistency|ConsistencyModel|SanaSprint)")
_DISTILLED_WORDS = {"turbo", "lcm", "tcd", "lightning", "hyper", "schnell", "distilled", "dmd", "dmd2"}
_DESCRIBES: dict[str, type] = {"name": str, "classes": list, "weights": list, "has_null": bool}
_RECORDED = {"training", "seconds", "losses", "versions"}  # how a model was made, for people to read
_NETWORKS = ("unet", "transformer")  # the folders of a pipeline's network
_LARGEST_JSON = 2**25  # bytes; the tokenizers of published models take some 4 MB
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:-\d+-of-\d+)?(?:\.([\w-]+?))?(?:-\d+-of-\d+)?\.(safetensors|bin)"
)


def described(
    stored: Mapping[str, Any], name: str, classes: Iterable[object], weights: Sequence[float] = ()
) -> dict[str, Any]:
    """`stored`, the content of a `companion.json`, over what is known without it: name, classes, weights, has_null.

    Weights as an argument count more than stored ones; weights that nobody gives are equal. Raises InputError for an
    unknown key, a value of another type, names that are not one for each class and all different, and for weights that
    are no probabilities.

    >>> described({"name": "mine"}, "folder", range(2))
    {'name': 'mine', 'classes': ('0', '1'), 'weights': (0.5, 0.5), 'has_null': True}
    """
    known = [str(each) for each in classes]
    equal = [1.0 / len(known)] * len(known)
    said: dict[str, Any] = {"name": name, "classes": known, "weights": equal, "has_null": True, **stored}
    for key, value in said.items():
        if key not in _DESCRIBES and key not in _RECORDED:
            raise InputError("companion.json's key", key, f"one of {', '.join(_DESCRIBES)}")
        if key in _DESCRIBES and not isinstance(value, _DESCRIBES[key]):
            raise InputError(f"{key} in companion.json", value, f"a value of type {_DESCRIBES[key].__name__}")
    if not all(isinstance(each, str) and each.strip() for each in (*stored.get("classes", ()), said["name"])):
        raise InputError("companion.json", dict(stored), "names that are texts and not empty")
    names = tuple(composed(each) for each in said["classes"])
    if len(names) != len(known) or len(set(names)) != len(names):
        raise InputError("classes", names, f"{len(known)} different names, one for each class the network knows")
    prior = tuple(probabilities("weights", weights or said["weights"], count=len(names)).tolist())
    return {"name": said["name"], "classes": names, "weights": prior, "has_null": said["has_null"]}


def stored_description(folder: Path) -> dict[str, Any]:
    """The content of a `companion.json` in a model's folder, or nothing where there is none."""
    path = home(folder) / "companion.json"
    return read_json(path) if path.exists() else {}


def home(folder: Path) -> Path:
    """The folder of the pipeline whose network's folder this is, else the folder itself; absolute, without links."""
    folder = folder.resolve()
    inside = folder.name in _NETWORKS and (folder.parent / "model_index.json").exists()
    return folder.parent if inside else folder


def name_of(place: str | Path) -> str:
    """What a model is called by where it is: its folder's name, but in a hub's cache, where that is a hash, the hub's.

    >>> name_of("hub/models--stabilityai--sd-turbo/snapshots/b261bac6/unet"), name_of("stabilityai/sd-turbo")
    ('sd-turbo', 'sd-turbo')
    """
    path = home(Path(place)) if Path(place).is_dir() else Path(place)
    cached = [part.split("--")[-1] for part in path.parts if part.startswith("models--")]
    outer = path.parent if path.name in _NETWORKS and path.parent.name else path
    return cached[-1] if cached and "snapshots" in path.parts else outer.name


def refuse_distilled(name: str, scheduler: str, config: Mapping[str, Any], pipeline: str = "") -> None:
    """InputError for a model that is no posterior mean: distilled into few steps, or trained on guided outputs.

    It shows in the scheduler, the pipeline, a network that is told a guidance scale (`guidance_embeds`,
    `time_cond_proj_dim`), or only in the name. A distilled network that none of these tells from its teacher passes.

    >>> refuse_distilled("sd-turbo", "EulerDiscreteScheduler", {})
    Traceback (most recent call last):
        ...
    companion.errors.InputError: model is sd-turbo, a distilled model by its name (or a folder to rename), expected ...
    """
    if _DISTILLED_SCHEDULERS.match(scheduler):
        raise InputError("scheduler", scheduler, _NO_POSTERIOR_MEAN)
    if _DISTILLED_PIPELINES.match(pipeline):
        raise InputError("model", f"a {pipeline}", _NO_POSTERIOR_MEAN)
    for key in ("guidance_embeds", "time_cond_proj_dim"):
        if config.get(key):
            raise InputError("model", f"told a guidance scale ({key})", _NO_POSTERIOR_MEAN)
    came = str(config.get("_name_or_path") or "")
    for said in (name, came and name_of(came)):
        if _DISTILLED_WORDS & set(re.split(r"[^a-z0-9]+", said.lower())):
            judged = f"{said}, a distilled model by its name (or a folder to rename)"
            raise InputError("model", judged, _NO_POSTERIOR_MEAN)


def load_network(kind: Any, folder: Path, *, dtype: torch.dtype, device: str | torch.device, allow_pickle: bool) -> Any:
    """A network of class `kind` from the folder that `save_pretrained` wrote, in eval mode, its weights frozen.

    Raises InputError for weights missing, truncated, pickled (unless `allow_pickle`), not finite or of another network.
    """
    safe, variant = _weights(folder, allow_pickle)
    _check_flags(kind, read_json(folder / "config.json"))
    asked = {"use_safetensors": safe, "variant": variant, "local_files_only": True, "torch_dtype": dtype}
    with foreign("model", folder, "weights and configuration that fit"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch_dtype is called dtype in later versions
        # Depending on what else is installed, the network is drawn at random before it is filled; nobody should notice.
        with torch.random.fork_rng(devices=[]):
            network, report = kind.from_pretrained(folder, output_loading_info=True, **asked)
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    if wrong:
        raise InputError("model", folder, f"weights and configuration that fit ({wrong[0]} is only in one of them)")
    check_finite(network, str(folder))
    return network.eval().requires_grad_(False).to(device)


def _check_flags(kind: Any, config: Mapping[str, Any]) -> None:
    """True or false where the class has a switch, and only there: a network takes whatever it is given for one."""
    for key, parameter in inspect.signature(kind.__init__).parameters.items():
        default, value = parameter.default, config.get(key, parameter.default)
        if isinstance(default, bool) and not isinstance(value, (bool, list, tuple)):
            raise InputError(key, repr(value), "true or false")
        if type(default) in (int, float) and isinstance(value, bool):
            raise InputError(key, value, "a number")


def check_finite(network: torch.nn.Module, where: str) -> None:
    """InputError unless every weight is finite, naming the first that is not."""
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(key, "NaN or infinite", f"finite weights in {where}, as {value.dtype} too")


def check_size(argument: str, value: object, expected: object, whose: str) -> None:
    """InputError unless two parts of a model agree on a size; a part that was lost has a library's default for it."""
    if value != expected:
        raise InputError(argument, value, f"{expected}, {whose}")


def sides(config: Mapping[str, Any]) -> tuple[int, int]:
    """The height and width of a sample in a network's configuration; InputError where it has none."""
    size = config.get("sample_size")
    found = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(found) != 2 or not all(type(side) is int and 0 < side <= 4096 for side in found):
        raise InputError("sample_size", size, "the height and width of a sample in the configuration")
    return found


def _weights(folder: Path, allow_pickle: bool) -> tuple[bool, str | None]:
    """Whether the weights to read are safetensors, all of them whole, and their variant, None for plain files."""
    check_files(folder)
    found = [(path, match) for path in sorted(folder.glob("*")) if (match := _WEIGHTS.fullmatch(path.name))]
    files = [each for each in found if each[1][2] == "safetensors"]
    pickles = [path for kind in ("bin", "pt", "pth", "ckpt", "pkl") for path in sorted(folder.glob(f"*.{kind}"))]
    if not files and pickles and not allow_pickle:
        raise InputError("weights", pickles[0], "safetensors: a pickle can run code when it is read, so none is")
    if not found:
        raise InputError("weights", folder, "a folder that holds a .safetensors file of a network")
    variants = {match[1] for _, match in files or found}
    if None not in variants and len(variants) > 1:
        named = ", ".join(sorted(map(str, variants)))
        raise InputError("weights", folder, f"one variant or the plain file, of {named}")
    variant = None if None in variants else variants.pop()
    for path, match in files:
        if match[1] == variant:
            with foreign("weights", path, "a whole safetensors file"), safe_open(path, framework="pt"):
                pass
    return bool(files), variant


def check_files(folder: Path) -> None:
    """InputError for a pipe, a socket or a device among a folder's files: whoever reads one waits for ever."""
    for path in sorted(folder.glob("*")):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError("model", path, "a regular file")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; InputError, in one line, when there is none, or a key of it comes twice."""
    if not path.exists():
        raise InputError("model", path.parent, f"a folder that holds {path.name}")
    if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
        raise InputError("model", path, f"a regular file of at most {_LARGEST_JSON >> 20} MB")
    with foreign("model", path, "a readable JSON file"):
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once, parse_constant=_number)
    if not isinstance(content, dict):
        raise InputError("model", path, "a JSON object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"the key {max(keys, key=keys.count)} comes twice")
    return dict(pairs)


def _number(word: str) -> float:
    if word == "NaN":
        raise ValueError("NaN is no number")
    return float(word)  # some schedulers have an infinity


def digest_of_network(network: torch.nn.Module, *tensors: torch.Tensor, told: object) -> str:
    """The digest of a network's weights and buffers, of further tensors, and of `told`, what JSON can write."""
    text = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
    return digest_of(*(value for _, value in sorted(network.state_dict().items())), *tensors, text)
