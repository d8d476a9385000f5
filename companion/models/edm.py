"""Networks of EDM and EDM2 behind the denoiser contract: `net(x, sigma, one_hot_labels) -> D`.

Such a network is the contract already: it wraps what is trained in coefficients of the noise level (Karras et al. 2022,
table 1; the line "edm" in `companion.models.schedules`), so nothing is left to convert but the label. That has traps,
each of which gives numbers and no error:

- Labels are one-hot floats (batch, K). An int vector is reshaped to rows of length K: K classes are taken for one row.
- `None` gives a row of zeros, which no EDM2 network was trained on. The unconditional model is a network of its own.
- Gains start at zero: a network that was not loaded answers c_skip x whatever the label.
- On a GPU the networks compute in float16 unless they are told `force_fp32`; D comes back in float32 either way.
"""

import io
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from companion.errors import InputError, first_line, foreign
from companion.models.pretrained import check_finite, described, digest_of_network
from companion.models.schedules import Schedule
from companion.models.trained import TrainedDenoiser

__all__ = ["EDMDenoiser", "edm_denoiser", "load"]


@dataclass(frozen=True, eq=False)
class EDMDenoiser(TrainedDenoiser):
    """A conditional EDM network as D(x, sigma | condition); `edm_denoiser` or `load` makes one.

    `unconditional` is the network behind `condition=None`, or None. Such networks take and give float32, whatever they
    compute in and their weights are kept in.
    """

    _: KW_ONLY
    unconditional: torch.nn.Module | None
    force_fp32: bool

    def output(self, state: torch.Tensor, times: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        network, labels = (self.unconditional or self.network), None
        if condition is not None:
            # A comparison, because on the device it gives zeros and no error where a class is outside.
            network, classes = self.network, torch.arange(len(self.classes), device=state.device)
            labels = (condition[:, None] == classes).to(torch.float32)
        mean: torch.Tensor = network(state, times, labels, **({"force_fp32": True} if self.force_fp32 else {}))
        return mean

    @property
    def networks(self) -> tuple[torch.nn.Module, ...]:
        return (self.network,) if self.unconditional is None else (self.network, self.unconditional)

    @property
    def network_dtype(self) -> torch.dtype:
        return torch.float32


def edm_denoiser(
    network: Any,
    unconditional: Any = None,
    classes: Sequence[str] = (),
    weights: Sequence[float] = (),
    sigma_range: tuple[float, float] = (0.002, 80.0),
    force_fp32: bool = False,
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None,
    name: str = "EDM",
) -> EDMDenoiser:
    """The reader's loaded network as a denoiser: an `EDMPrecond` or EDM2 `Precond`, or what has their interface.

    `network` has `img_channels`, `img_resolution` and `label_dim` = K; `unconditional` has label_dim 0, or is None, and
    the model no null class. `sigma_range` is what they were trained on, cut to their own `sigma_min` and `sigma_max`.
    Raises InputError for fewer than two classes, for an unconditional network that takes labels, for names or weights
    that do not fit, and for a network whose gain is zero.
    """
    count = getattr(network, "label_dim", 0)
    if not isinstance(count, int) or count < 2:
        raise InputError("network", f"of label_dim {count}", "a conditional network, label_dim at least 2")
    networks = [each for each in (network, unconditional) if each is not None]
    for each in networks:
        sizes = [getattr(each, key, None) for key in ("img_channels", "img_resolution")]
        if not isinstance(each, torch.nn.Module) or not all(isinstance(size, int) for size in sizes):
            raise InputError("network", f"a {type(each).__name__}", "a network with img_channels and img_resolution")
        shape = (network.img_channels, network.img_resolution, network.img_resolution)
        if sizes != [*shape[:2]]:
            raise InputError("unconditional", sizes, f"a network for {shape}")
        check_finite(each, "a network of EDM")
        silent = [key for key, gain in each.named_parameters() if key.endswith("out_gain") and not bool(gain.any())]
        if silent:
            raise InputError(silent[0], 0.0, "a trained network: with no gain it answers c_skip x to everything")
    if unconditional is not None and int(getattr(unconditional, "label_dim", 0)) != 0:
        expected = "0: a network trained without labels, not the conditional one without a label"
        raise InputError("unconditional.label_dim", unconditional.label_dim, expected)
    least = max([sigma_range[0], *(float(getattr(each, "sigma_min", 0.0)) for each in networks)])
    most = min([sigma_range[1], *(float(getattr(each, "sigma_max", np.inf)) for each in networks)])
    if not 0.0 < least < most < np.inf:
        raise InputError("sigma_range", (least, most), "0 < least < most, both finite")
    if len(classes or range(count)) != count:
        raise InputError("classes", classes, f"{count} names, one for each label")
    said = described({"has_null": unconditional is not None}, name, classes or range(count), weights)
    sigmas = np.array([least, most])
    schedule = Schedule(sigmas, -2.0 * np.log(sigmas), "denoised")  # told sigma itself, they answer with D
    others = [value for each in networks[1:] for _, value in sorted(each.state_dict().items())]
    told = [type(network).__name__, bool(getattr(network, "use_fp16", False)) and not force_fp32, len(others)]
    said |= {"shape": shape, "digest": digest_of_network(network, *others, told=told), "decode": decode}
    return EDMDenoiser(network, schedule, **said, unconditional=unconditional, force_fp32=force_fp32)


def load(
    path: str | Path,
    unconditional: str | Path | None = None,
    code: str | Path | None = None,
    allow_pickle: bool = False,
    device: str | torch.device = "cpu",
    **described_by: Any,
) -> EDMDenoiser:
    """The denoiser of a published EDM or EDM2 checkpoint, and of a second one for the unconditional model.

    These files are pickles. **Reading a pickle runs whatever its author put in it, with your rights on this machine**:
    it can read, change and send your files. `allow_pickle=True` says that you know where `path` and `unconditional`
    come from and trust it; without it nothing is opened. A digest proves that a file is the one you meant, not that it
    is harmless. Such a file needs its repository's code, `code`, a folder that is on the import path while it is read.

    A checkpoint is a dict with the network under "ema", or the network itself. `described_by` are further arguments of
    `edm_denoiser`. Raises InputError without `allow_pickle`, for a file, a folder or code that is not there, and for a
    file that holds no network.
    """
    paths = [Path(each) for each in (path, unconditional) if each is not None]
    if not allow_pickle:
        expected = "allow_pickle=True beside it: a pickle runs code when it is read, so only from whom you trust"
        raise InputError("checkpoint", paths[0], expected)
    if code is not None and not Path(code).is_dir():
        raise InputError("code", code, "the folder of the code that the checkpoint needs")
    for each in paths:
        if not each.is_file():
            raise InputError("checkpoint", each, "a file")
    before = list(sys.path)
    sys.path[:0] = [] if code is None else [str(Path(code).resolve())]
    try:
        networks: list[Any] = [_unpickled(each).to(device) for each in paths]
    finally:
        sys.path[:] = before
    return edm_denoiser(*networks, **{"name": paths[0].stem, **described_by})


def _unpickled(path: Path) -> torch.nn.Module:
    with foreign("checkpoint", path, "a whole pickle of a network"):
        try:
            with path.open("rb") as stream:
                held = _OnCPU(stream).load()
        except ModuleNotFoundError as error:
            raise InputError("checkpoint", path, f"its own code in the folder `code` ({first_line(error)})") from None
    network = held.get("ema") if isinstance(held, dict) else held
    if not isinstance(network, torch.nn.Module):
        raise InputError("checkpoint", path, 'a network, or a dict that holds one under "ema"')
    return network


class _OnCPU(pickle.Unpickler):
    """Reads tensors that were written on a GPU where there is none."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda held: torch.load(io.BytesIO(held), map_location="cpu", weights_only=False)
        return super().find_class(module, name)
