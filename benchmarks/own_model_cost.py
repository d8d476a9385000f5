"""What three published models cost a profile: counted on their architectures, timed by others, no GPU used here.

    python benchmarks/own_model_cost.py         about ten seconds on one thread, no download

It goes to derivations/bring_your_own_model/results/cost.json, which that chapter reads. Of each model are

- counted: its parameters and the floating-point operations of one evaluation (a multiplication and an addition are
  two), by torch's FlopCounterMode on the real architecture on the device "meta", which has shapes and no numbers;
- counted: the most memory one evaluation holds beside the weights, a sample, in float16, by following every storage
  of a pass through the same architecture of fake tensors, whose attention does not keep its matrix;
- not measured: any time. The speed is a rate that others measured: iterations a second of Stable Diffusion 1.5 in the
  documentation of diffusers ("PyTorch 2.0", benchmark of version 0.17: torch 2.0, float16, channels last, 512x512, a
  batch of 16 pictures, without torch.compile). An iteration is two evaluations for each picture of the batch. Times
  the operations of an evaluation that gives the share of the card's peak which such a network reaches; the other
  models are assumed to reach the same share.

Peaks and memory are those of NVIDIA's data sheets (dense tensor cores, float16). The parameters and operations counted
here are held against those that the papers of DiT and EDM2 print; the papers count a multiplication and an addition as
one.
"""

import argparse
import json
import platform
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from companion.files import write_text
from companion.models.pretrained import diffusers
from derivations.kit.measured import FOLDER

Case = tuple[torch.nn.Module, Callable[[Any, torch.Tensor], Any], tuple[int, ...]]

BATCH = 4  # at which operations and memory are counted, and divided by

RATE = "diffusers 0.17, documentation of PyTorch 2.0: SD txt2img, float16, channels last, no compile, batch 16"
CARDS = {
    "T4": {"peak": 65e12, "memory": 16e9, "batch": 16, "iterations_per_second": 1.0 / 2.34},
    "A100": {"peak": 312e12, "memory": 40e9, "batch": 16, "iterations_per_second": 3.04},
}


class EDM2(torch.nn.Module):
    """The layers of an EDM2 network that cost something (Karras et al. 2024, figure 21): to be counted, not trained.

    Convolutions and attention at their sizes, labels and noise embedded; gains and norms, which cost next to nothing,
    are left out.
    """

    def __init__(self, channels: int, resolution: int = 64, colours: int = 4, labels: int = 1000):
        super().__init__()
        widths, deepest = [channels, 2 * channels, 3 * channels, 4 * channels], 4 * channels
        self.embed = torch.nn.ModuleList(torch.nn.Linear(n, deepest, bias=False) for n in (channels, labels))
        self.first = torch.nn.Conv2d(colours + 1, channels, 3, padding=1, bias=False)
        self.down, self.up = torch.nn.ModuleList(), torch.nn.ModuleList()
        kept, now = [channels], channels
        for depth, width in enumerate(widths):
            attends = resolution >> depth in (16, 8)
            if depth:
                self.down.append(_Block(now, now, deepest, encodes=True, scale=0.5))
                kept.append(now)
            for _ in range(3):
                self.down.append(_Block(now, width, deepest, encodes=True, attends=attends))
                kept.append(width)
                now = width
        self.middle = torch.nn.ModuleList([_Block(now, now, deepest, attends=True), _Block(now, now, deepest)])
        for depth, width in reversed(list(enumerate(widths))):
            attends = resolution >> depth in (16, 8)
            if depth < len(widths) - 1:
                self.up.append(_Block(now, now, deepest, scale=2.0))
            for _ in range(4):
                self.up.append(_Block(now + kept.pop(), width, deepest, attends=attends, joins=True))
                now = width
        self.last = torch.nn.Conv2d(now, colours, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        told = self.embed[0](noise) + self.embed[1](labels)
        x = self.first(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        kept = [x]
        for block in self.down:
            x = block(x, told)
            kept.append(x)
        for block in self.middle:
            x = block(x, told)
        for block in self.up:
            x = block(torch.cat([x, kept.pop()], dim=1) if block.joins else x, told)
        return self.last(x)


class _Block(torch.nn.Module):
    """Two convolutions beside a skip, in an encoder behind the skip; then attention of 64 channels a head."""

    def __init__(
        self, before: int, after: int, told: int, encodes=False, attends=False, joins=False, scale: float = 1.0
    ):
        super().__init__()

        def conv(inner: int, outer: int, size: int) -> torch.nn.Conv2d:
            return torch.nn.Conv2d(inner, outer, size, padding=size // 2, bias=False)

        self.encodes, self.joins, self.scale, self.heads = encodes, joins, scale, after // 64 if attends else 0
        self.first, self.second = conv(after if encodes else before, after, 3), conv(after, after, 3)
        self.told = torch.nn.Linear(told, after, bias=False)
        self.skip = conv(before, after, 1) if before != after else torch.nn.Identity()
        self.attention = torch.nn.ModuleList([conv(after, 3 * after, 1), conv(after, after, 1)] if attends else [])

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        if self.scale != 1.0:
            x = torch.nn.functional.interpolate(x, scale_factor=self.scale)
        if self.encodes:
            x = self.skip(x)
        y = self.first(torch.nn.functional.silu(x))
        y = self.second(torch.nn.functional.silu(y * (self.told(told) + 1.0)[:, :, None, None]))
        x = (x if self.encodes else self.skip(x)) + y
        if self.heads:
            q, k, v = self.attention[0](x).reshape(len(x), self.heads, 64, 3, -1).unbind(3)
            w = torch.einsum("nhcq,nhck->nhqk", q, k).softmax(dim=3)
            x = x + self.attention[1](torch.einsum("nhqk,nhck->nhcq", w, v).reshape(x.shape))
        return x


def dit() -> Case:
    """The network of facebook/DiT-XL-2-256, by its configuration, how it is called, and its shape."""
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8, num_layers=28, sample_size=32,
        patch_size=2, num_embeds_ada_norm=1000,
    )  # fmt: skip
    return network, lambda net, x: net(x, timestep=x[:, 0, 0, 0], class_labels=_labels(x)), (4, 32, 32)


def stable_diffusion() -> Case:
    """The network of Stable Diffusion 1.5, with prompts of 77 tokens."""
    network = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return network, lambda net, x: net(x, x[:, 0, 0, 0], x.new_empty(len(x), 77, 768)), (4, 64, 64)


def edm2() -> Case:
    """The network of edm2-img512-s."""
    return EDM2(192), lambda net, x: net(x, x.new_empty(len(x), 192), x.new_empty(len(x), 1000)), (4, 64, 64)


# What else lies on the card: the autoencoder in float32 and, for prompts, the text encoder in the network's precision.
VAE, TEXT_ENCODER = 83_653_863, 123_060_480
MODELS = {
    "DiT-XL/2-256": (dit, 4 * VAE, {"operations": 2 * 118.6e9, "source": "Peebles and Xie 2023"}),
    "Stable Diffusion 1.5": (stable_diffusion, 4 * VAE + 2 * TEXT_ENCODER, {}),
    "EDM2-S (img512)": (
        edm2,
        0,
        {"parameters": 280e6, "operations": 2 * 102e9, "source": "Karras et al. 2024"},
    ),
}


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    started = time.perf_counter()
    models = []
    for name, (make, beside, published) in MODELS.items():
        row = {"model": name, **counted(make), "beside_bytes": beside, "published": published}
        models.append(row)
        print(f"{name:22} {row['parameters'] / 1e6:6.1f} M parameters, {row['operations'] / 1e9:6.1f} GFLOP,", end=" ")
        print(f"{row['sample_bytes'] / 1e6:6.1f} MB a sample")
    timed = next(row for row in models if row["model"] == "Stable Diffusion 1.5")
    cards = []
    for name, card in CARDS.items():
        evaluations = 2 * card["batch"] * card["iterations_per_second"]
        cards.append({"card": name, **card, "share": evaluations * timed["operations"] / card["peak"]})
        print(
            f"{name:22} {evaluations:.1f} evaluations/s of Stable Diffusion 1.5: {cards[-1]['share']:.1%} of the peak"
        )
    origin = {
        "command": "python benchmarks/own_model_cost.py",
        "device": "computed: no accelerator",
        "seed": None,
        "seconds": round(time.perf_counter() - started),
        "evaluations": None,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "diffusers")},
    }
    found = {"rate": RATE, "models": models, "cards": cards}
    write_text(FOLDER / "bring_your_own_model/results/cost.json", json.dumps(origin | found, indent=1) + "\n")
    return 0


def counted(make: Callable[[], Case]) -> dict[str, Any]:
    """Parameters, operations and memory of one evaluation of the network that `make` makes."""
    with torch.device("meta"), torch.no_grad():
        network, call, shape = make()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        counter = FlopCounterMode(display=False)
        with counter:
            call(network.eval(), torch.empty(BATCH, *shape))
    return {
        "shape": list(shape),
        "parameters": parameters,
        "weights_bytes": 2 * parameters,
        "operations": counter.get_total_flops() / BATCH,
        "sample_bytes": held(make) / BATCH,
    }


def held(make: Callable[[], Case]) -> float:
    """The most bytes that one batch of BATCH holds at once beside the weights, in float16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        with FakeTensorMode(), torch.no_grad():
            network, call, shape = make()
            network.eval()
            x = torch.empty(BATCH, *shape)
            with Held(network.parameters()) as memory:
                call(network, x)
        return memory.most
    finally:
        torch.set_default_dtype(before)


class Held(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, as long as they live; `most` is the largest sum so far.

    The storages of `known` tensors, the weights, are not counted.
    """

    def __init__(self, known: Iterable[torch.Tensor]):
        super().__init__()
        self.followed = WeakIdKeyDictionary({tensor.untyped_storage(): None for tensor in known})
        self.now, self.most = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(each, torch.Tensor):
                self._follow(each.untyped_storage())
        return made

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if storage in self.followed:
            return
        self.followed[storage] = None
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._released, storage.nbytes())

    def _released(self, size: int) -> None:
        self.now -= size


def _labels(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(x), dtype=torch.long, device=x.device)


if __name__ == "__main__":
    sys.exit(main())
