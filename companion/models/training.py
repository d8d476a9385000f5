"""Training small networks: a loop that can be stopped at any step, and class-conditional diffusion as its first user.

`train` makes a network that predicts v = alpha eps - sigma x_0 on the variance-preserving process of DDPM (1000 steps,
beta growing linearly) and sees its label hidden, as the null class, a part of the time. What is kept is the exponential
moving average of its weights. A run is a function of its settings, machine and versions: same seed and threads, same
weights, whether or not it was stopped in between.
"""

import json
import math
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from companion.errors import InputError
from companion.files import make_folder, write_text, written_whole
from companion.models.digits import CLASSES, LabelledImages

__all__ = ["Settings", "finish", "holds_no_model", "optimise", "train", "velocity_loss"]

_CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINT_EVERY = 500


@dataclass(frozen=True)
class Settings:
    """What determines a training run; each field is written into the checkpoint and into the finished model.

    `label_dropout` is the probability that a label is hidden, `average` the decay of the moving average, `dropout` the
    network's own: without it, generated digits lie nearer to the training images than held-out digits do, and the
    posterior is too sure of itself. Raises InputError for fewer than one step or thread, for more threads than
    processors, or for a seed that is negative or 2^63 and more.
    """

    seed: int = 0
    steps: int = 5000
    threads: int = 1
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    dropout: float = 0.2
    label_dropout: float = 0.15
    average: float = 0.999

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("steps", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise InputError(name, getattr(self, name), f"at least {least}")
        if self.seed >= 2**63:
            raise InputError("seed", self.seed, "less than 2^63")
        if self.threads > (os.cpu_count() or 1):
            raise InputError("threads", self.threads, f"at most the {os.cpu_count()} processors of this machine")


def train(
    data: LabelledImages,
    folder: Path,
    settings: Settings,
    progress: bool = True,
    name: str = "digits",
    classes: Sequence[str] = CLASSES,
    channels: Sequence[int] = (16, 32),
) -> None:
    """Trains on `data` and leaves in `folder` what diffusers' `save_pretrained` writes, and `companion.json`.

    Minimises E | v(x_t, t, c) - (alpha_t eps - sigma_t x_0) |^2 over t uniform on the 1000 steps, with AdamW and a
    learning rate that warms up and falls to zero along a cosine (Ho et al. 2020; Salimans and Ho 2022 for v). Other
    images of one channel are learned the same way: `name` and `classes` are what the model will call itself and them,
    `channels` the width of the network at each resolution.

    Every 500 steps, and at Ctrl-C, which then raises KeyboardInterrupt, the whole state goes to
    `checkpoint.safetensors` in `folder`; the same call goes on from there and ends with the same bits. Raises
    InputError when `folder` is a file, holds a model, or holds a checkpoint of other settings.
    """

    def made() -> tuple[UNet2DModel, Callable[[], torch.Tensor]]:
        depth, count = len(channels), len(classes)
        images = {"sample_size": data.images.shape[-1], "in_channels": 1, "out_channels": 1}
        blocks = {"down_block_types": ("DownBlock2D",) * depth, "up_block_types": ("UpBlock2D",) * depth}
        sizes = {"block_out_channels": tuple(channels), "layers_per_block": 1, "norm_num_groups": 8}
        told = {"num_class_embeds": count + 1, "dropout": settings.dropout, "add_attention": False}
        network = UNet2DModel(**images, **blocks, **sizes, **told)

        def loss() -> torch.Tensor:
            chosen = torch.randint(len(data.labels), (settings.batch,))
            hidden = torch.rand(settings.batch) < settings.label_dropout
            images, labels = data.images[chosen], torch.where(hidden, count, data.labels[chosen])
            timesteps = torch.randint(_scheduler().config.num_train_timesteps, (settings.batch,))
            return velocity_loss(network, images, labels, timesteps, torch.randn_like(images))

        return network, loss

    holds_no_model(folder)
    network, course = optimise(made, folder, settings, progress)

    def save(unfinished: Path) -> None:
        for part, each in (("unet", network), ("scheduler", _scheduler())):
            each.save_pretrained(unfinished / part)

    described = {"name": name, "classes": list(classes), "has_null": True, "training": asdict(settings)}
    finish(folder, save, described | course, ("torch", "diffusers", "numpy", "scikit-learn"))


def velocity_loss(
    network: UNet2DModel, images: torch.Tensor, labels: torch.Tensor, timesteps: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """The training loss, the mean over a batch's pixels: `images` and `noise` are (batch, *shape), `labels` (the number
    of classes stands for the null) and `timesteps` int64 (batch,)."""
    noisy, target = (make(images, noise, timesteps) for make in (_scheduler().add_noise, _scheduler().get_velocity))
    return torch.nn.functional.mse_loss(network(noisy, timesteps, class_labels=labels).sample, target)


def holds_no_model(folder: Path) -> None:
    """InputError when `folder` is a file or holds a finished model; a run that was stopped may go on in it."""
    if folder.exists() and not folder.is_dir():
        raise InputError("out", folder, "a folder, not a file")
    # A run that ended while its parts were put in place has them beside its checkpoint, and may replace them.
    if (folder / "companion.json").exists() or ((folder / "unet").exists() and not (folder / _CHECKPOINT).exists()):
        raise InputError("out", folder, "a folder that holds no model yet")


def optimise(
    made: Callable[[], tuple[Any, Callable[[], torch.Tensor]]], folder: Path, settings: Settings, progress: bool = True
) -> tuple[Any, dict[str, Any]]:
    """The network that `made` returns, trained, in eval mode with its averaged weights, and what the run was like.

    That is its `seconds`, and its `losses`, the means of every 100 steps.

    `made` returns a network, drawn at random, and the loss of its next batch. All that is random in either comes from
    torch's global generator, which is seeded before, and is afterwards as it was. What is not random, data for one,
    is the caller's, and must be the same when a run goes on. Raises as `train` does.
    """
    make_folder(folder, "out")
    before, checkpoint = torch.get_num_threads(), folder / _CHECKPOINT
    torch.set_num_threads(settings.threads)
    try:
        # Everything random, dropout included, is drawn from the one global generator, whose state is checkpointed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network, loss = made()
            run = _Run(network, settings)
            if checkpoint.exists():
                run.restore(checkpoint)
            _steps(run, loss, checkpoint, progress)
    finally:
        torch.set_num_threads(before)
    network.load_state_dict(run.average, strict=False)  # buffers, which are not averaged, stay
    losses = [round(fmean(run.losses[first : first + 100]), 5) for first in range(0, settings.steps, 100)]
    return network.eval(), {"seconds": round(run.seconds), "losses": losses}


def finish(folder: Path, save: Callable[[Path], None], described: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Puts what `save` writes into `folder`, whole, with `described` and versions as its `companion.json`."""
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        save(Path(unfinished))
        for part in sorted(Path(unfinished).iterdir()):
            if (folder / part.name).is_dir():
                shutil.rmtree(folder / part.name)
            part.replace(folder / part.name)
    versions = {"python": platform.python_version()} | {each: version(each) for each in (*packages, "safetensors")}
    # Last, because a folder with companion.json is a finished model.
    write_text(folder / "companion.json", json.dumps({**described, "versions": versions}, indent=2) + "\n")
    (folder / _CHECKPOINT).unlink(missing_ok=True)


class _Run:
    """The state of a run: network, moving average, optimizer, and how many steps and seconds are behind it."""

    def __init__(self, network: torch.nn.Module, settings: Settings):
        self.network, self.settings, self.step, self.seconds = network, settings, 0, 0.0
        self.losses: list[float] = []
        self.average = {name: value.detach().clone() for name, value in network.named_parameters()}
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every number the next step depends on, by name."""
        state = {"generator": torch.get_rng_state(), "losses": torch.tensor(self.losses)}
        for name, parameter in self.network.named_parameters():
            state[f"network/{name}"] = parameter.detach()
            state[f"average/{name}"] = self.average[name]
            for moment, value in self.optimizer.state[parameter].items():
                state[f"{moment}/{name}"] = value
        return state

    def save(self, path: Path) -> None:
        facts = {"settings": asdict(self.settings), "step": self.step, "seconds": self.seconds}
        described = {key: json.dumps(fact) for key, fact in facts.items()}
        with written_whole(path) as unfinished:
            try:
                save_file(self.tensors(), unfinished, metadata=described)
            except SafetensorError as error:  # a full disk, for one
                raise OSError(f"{path} could not be written: {error}") from None

    def restore(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as stored:
                described = {key: json.loads(fact) for key, fact in (stored.metadata() or {}).items()}
                state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118, not a dict
            settings, self.step, self.seconds = (described[key] for key in ("settings", "step", "seconds"))
            self.losses = state["losses"].tolist()
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            expected = f"a checkpoint of this command; remove it to start again ({error})"
            raise InputError("checkpoint", path, expected) from None
        was = [f"{key} {settings.get(key)}" for key, ours in asdict(self.settings).items() if settings.get(key) != ours]
        if was:
            expected = f"one of these settings, not of {', '.join(was)}; remove it or name another folder"
            raise InputError("checkpoint", path, expected)
        torch.set_rng_state(state["generator"])
        for name, parameter in self.network.named_parameters():
            parameter.data.copy_(state[f"network/{name}"])
            self.average[name].copy_(state[f"average/{name}"])
            self.optimizer.state[parameter] = {key: state[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}


def _steps(run: _Run, loss_of_batch: Callable[[], torch.Tensor], checkpoint: Path, progress: bool) -> None:
    settings = run.settings
    run.network.train()
    bar = tqdm(total=settings.steps, initial=run.step, desc="training", unit="step", disable=not progress)
    with bar, _interrupt_noted() as interrupted:
        while run.step < settings.steps:
            started = time.perf_counter()
            run.optimizer.param_groups[0]["lr"] = settings.learning_rate * _rate(run.step, settings.steps)
            loss = loss_of_batch()
            run.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
            run.optimizer.step()
            run.step += 1
            run.losses.append(loss.item())
            run.seconds += time.perf_counter() - started
            # The decay grows to its final value, so that the average forgets the random start.
            decay = min(settings.average, run.step / (run.step + 10.0))
            for name, parameter in run.network.named_parameters():
                run.average[name].lerp_(parameter.detach(), 1.0 - decay)
            bar.update()
            if run.step % 50 == 0:
                bar.set_postfix(loss=f"{run.losses[-1]:.3f}")
            if interrupted.is_set() or run.step % _CHECKPOINT_EVERY == 0:
                run.save(checkpoint)
            if interrupted.is_set():
                kept = f"all kept in {checkpoint}; the same command goes on from there"
                raise KeyboardInterrupt(f"stopped after {run.step} of {settings.steps} steps, {kept}")


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100.0) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


@contextmanager
def _interrupt_noted() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into an event, seen when a step is complete; a second one stops at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals reach the main thread only
        return

    def note(number: int, frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@cache
def _scheduler() -> DDPMScheduler:
    # clip_sample would only matter to diffusers' own samplers; off, they draw what the network says.
    return DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction", clip_sample=False)
