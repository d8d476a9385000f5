"""The command line: `companion profile` measures when a model decides, `companion train digits` trains a small one.

A command is a function from parsed arguments to nothing; its parser names it with `set_defaults(command=...)`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from companion import __version__
from companion.errors import InputError

if TYPE_CHECKING:
    from companion.estimate.result import Profile

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for bad input, 130 after Ctrl-C.

    Bad input, files that cannot be read or written, runs too large for memory and what torch cannot do end in one
    line on standard error, never in a traceback. Of several processes one speaks.

    >>> main(["train", "digits", "--steps", "0", "--out", "nowhere"])
    2
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        _say(f"companion: error: {_one_line(error)}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say(f"\ncompanion: {str(interrupt) or 'stopped'}")
        return 130
    return 0


def is_main() -> bool:
    """Whether this process, of those that a launcher started, is the one that speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def _say(line: str) -> None:
    if is_main():
        print(line, file=sys.stderr, flush=True)
    else:
        time.sleep(5.0)  # a launcher ends all processes with the first one, and the main one has to speak before


def _one_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, as every other error here, and not the usage as well."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"companion: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="companion",
        description="Class entropy along diffusion trajectories: when a diffusion model decides what it draws.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        '  companion profile --model digits --partition "3|8" --out 3-or-8\n'
        "  companion train digits --out my-digits --seed 1",
    )
    parser.add_argument("--version", action="version", version=f"companion {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_profile(commands)
    _add_train(commands)
    return parser


def _add_profile(commands: "argparse._SubParsersAction[_OneLineParser]") -> None:
    command = commands.add_parser(
        "profile",
        help="when a model decides between two sides of a partition of its classes",
        description="Measure the class entropy of a partition along a model's denoising trajectories: how sure the\n"
        "state is of its class, level by level of noise, and when it was decided.",
        epilog="partitions:\n"
        "  3|8                class 3 against class 8\n"
        "  0,6,8,9|1,4,7      one group of classes against another\n"
        "  3|others           class 3 against the mixture of all other classes\n"
        "  3|all              class 3 against the mixture of all classes, itself included: ends at a floor\n"
        "  3|null             class 3 against the network's own unconditional branch, as published\n"
        "  #0|#1              the first class against the second, by their numbers: for prompts\n\n"
        "a model's folder is what save_pretrained of diffusers wrote: a UNet2DModel with classes, a DiT, or a Stable\n"
        "Diffusion 1, 2, XL or 3, whose classes are the prompts. The last class embedding of a UNet2DModel is taken\n"
        'for the null class unless companion.json beside it says {"has_null": false}\n\n'
        "writes OUT/profile.json (open it with companion.estimate.result.Profile.load) and OUT/profile.png. Blocks of\n"
        "paths are kept in OUT/blocks as soon as they are finished: stopped or killed at any moment, the same command\n"
        "goes on from there and ends with the same numbers, to the bit. --tolerance may be added or changed; another\n"
        "--block uses what is finished, with the same numbers to rounding; anything else wants another OUT\n\n"
        "several processes, each with its own device, share a run (accelerate is needed):\n"
        "  accelerate launch --multi_gpu --num_processes 2 -m companion.cli profile --device cuda ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--model", default="digits", help='a shipped model ("digits", the default) or a folder, such as ./digits'
    )
    command.add_argument(
        "--prompt", action="append", default=[], help="a class of a text-to-image model; once for each"
    )
    command.add_argument("--device", default="cpu", help="where the network computes, such as cuda (default cpu)")
    command.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="what the network computes in"
    )
    command.add_argument("--partition", required=True, help='two sides, such as "3|8"; see below')
    command.add_argument("--samples", type=int, default=300, help="trajectories, over both sides (default 300)")
    command.add_argument(
        "--tolerance", type=float, help="nats: add trajectories until the band is no wider on either side"
    )
    command.add_argument("--levels", type=int, default=128, help="noise levels, which a pilot run places (default 128)")
    command.add_argument(
        "--block", type=int, default=150, help="trajectories evaluated at once, which bounds the memory (default 150)"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    command.add_argument("--prior", choices=["balanced", "true"], default="balanced", help="weights of the two sides")
    command.add_argument("--method", choices=["default", "published"], default="default", help="the estimator")
    command.add_argument(
        "--out", type=Path, default=Path("profile"), help='folder of the run and its result (default "profile")'
    )
    command.add_argument(
        "--trust",
        action="append",
        default=[],
        choices=["null", "clipping", "first level", "last level"],
        help="go on although this check of the model fails; once for each",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    command.set_defaults(command=_profile)


def _profile(arguments: argparse.Namespace) -> None:
    # Imported here, so that --help does not wait for torch.
    from dataclasses import replace

    import torch
    from tqdm import tqdm

    from companion.estimate.cost import expected_cost
    from companion.estimate.folder import Run
    from companion.estimate.noise import check_seed
    from companion.estimate.partition import NULL, parse_partition
    from companion.estimate.plan import DEFAULT, PUBLISHED
    from companion.estimate.processes import launched
    from companion.estimate.profile import planned, profile
    from companion.estimate.result import Profile
    from companion.files import make_folder
    from companion.models.checks import examine, refuse
    from companion.models.load import load
    from companion.models.unet import SHIPPED

    if arguments.levels < 2:
        raise InputError("--levels", arguments.levels, "at least two noise levels")
    check_seed(arguments.seed)
    try:
        torch.zeros(1, device=arguments.device).cpu()
    except Exception as error:  # torch has no one error for a device that is not there
        raise InputError("--device", arguments.device, "a device of this torch, such as cpu or cuda") from error
    processes = launched(arguments.device)
    device = processes.device or arguments.device
    model = processes.together(
        lambda: load(arguments.model, arguments.prompt, (), device, getattr(torch, arguments.dtype))
    )
    if is_main() and Path(arguments.model).is_dir() and arguments.model in SHIPPED:
        print(f"{arguments.model} is the shipped model; the folder is ./{arguments.model}", file=sys.stderr)
    partition = parse_partition(model, arguments.partition, arguments.prior)
    method = {"default": DEFAULT, "published": PUBLISHED}[arguments.method]
    asked = {name: getattr(arguments, name) for name in ("samples", "levels", "tolerance", "block")}
    plan, pilot = planned(model, [partition], seed=arguments.seed, method=method, **asked)
    run, written = Run(arguments.out, processes), arguments.out / "profile.json"
    if not run.finished(model, plan, pilot, asked, written) or not written.with_suffix(".png").is_file():
        left = run.missing(plan) + (0 if pilot is None else run.missing(pilot))
        if left > 0:
            conditions = [None if branch == NULL else branch for branch in plan.branches]
            levels = [plan.log_snr[0], plan.log_snr[len(plan.log_snr) // 2], plan.log_snr[-1]]
            refuse(examine(model, conditions, levels), arguments.trust)
            cost = processes.together(lambda: expected_cost(model, plan, pilot, left, processes.count))
        make_folder(arguments.out, "--out")
        if left > 0 and is_main():
            print(("at least " if arguments.tolerance else "") + cost.said_of(model.name), file=sys.stderr)
        with tqdm(total=left, unit=" evaluations", desc=partition.label, leave=False, disable=not is_main()) as bar:
            try:
                result = profile(
                    model,
                    partition,
                    seed=arguments.seed,
                    method=method,
                    progress=bar.update,
                    blocks=run.blocks,
                    **asked,
                )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"stopped; {run.kept} finished blocks are kept in {arguments.out}, and the same command goes on"
                ) from None
        if is_main():
            sampling = result.sampling + (f"; {run.mixture}" if run.mixture else "")
            # The seconds of all attempts and processes: the same for whoever looks at the same blocks.
            result = replace(result, seconds=run.seconds, sampling=sampling)
            _save(result, arguments.out)
            run.finish(asked, written)
    if is_main():
        _show(Profile.load(written), written, arguments.json)


def _save(result: "Profile", folder: Path) -> None:
    from companion.figures import draw_profile, figure, save
    from companion.files import written_whole

    result.save(folder / "profile.json")
    fig, axes = figure(1, 2)
    draw_profile(axes, result)
    with written_whole(folder / "profile.png") as unfinished:
        save(fig, unfinished)


def _show(result: "Profile", written: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**result.as_dict(), "half_entropy_log_snr": result.half_entropy.value}, allow_nan=False))
    else:
        print(result.summary())
        print(f"  written to                {written} and profile.png")


def _add_train(commands: "argparse._SubParsersAction[_OneLineParser]") -> None:
    train = commands.add_parser("train", help="train a small network", description="Train a small network.")
    networks = train.add_subparsers(title="networks", metavar="NETWORK", required=True)
    digits = networks.add_parser(
        "digits",
        help="a diffusion model of the ten handwritten digits, about five minutes on one thread",
        description="Train a class-conditional diffusion model on scikit-learn's 8x8 handwritten digits. About five "
        "minutes on one thread. Ctrl-C keeps everything done so far, and the same command goes on from there. Same "
        "seed, steps, threads, machine and versions: same weights, to the bit.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    digits.add_argument("--out", type=Path, default=Path("digits-model"), help="folder for the finished model")
    digits.add_argument("--seed", type=int, default=0, help="seed of everything random")
    digits.add_argument("--steps", type=int, default=5000, help="optimizer steps, 128 images each")
    digits.add_argument("--threads", type=int, default=1, help="processor threads")
    digits.set_defaults(command=_train_digits)


def _train_digits(arguments: argparse.Namespace) -> None:
    # Imported here, so that --help does not wait for torch.
    from companion.models.digits import training_digits
    from companion.models.training import Settings, train

    settings = Settings(seed=arguments.seed, steps=arguments.steps, threads=arguments.threads)
    train(training_digits(), arguments.out, settings)
    # The whole path, because a folder called "digits" gives way to the shipped model of that name.
    print(f"the model is in {arguments.out}; companion.models.unet.load({str(arguments.out.absolute())!r}) opens it")


if __name__ == "__main__":
    sys.exit(main())
