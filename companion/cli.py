"""The command line: `companion profile` measures when a model decides, `companion train digits` trains a small one.

A command is a function from parsed arguments to nothing; its parser names it with `set_defaults(command=...)`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from companion import __version__
from companion.errors import InputError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for bad input, 130 after Ctrl-C.

    Bad input, files that cannot be read or written and runs too large for memory end in one line on
    standard error, never in a traceback.

    >>> main(["train", "digits", "--steps", "0", "--out", "nowhere"])
    2
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (InputError, OSError, MemoryError) as error:
        print(f"companion: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\ncompanion: {str(interrupt) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


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
        "writes OUT/profile.json (open it with companion.estimate.profile.Profile.load) and OUT/profile.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", default="digits", help='a shipped model ("digits", the default) or a folder')
    command.add_argument(
        "--prompt", action="append", default=[], help="a class of a text-to-image model; once for each"
    )
    command.add_argument("--device", default="cpu", help="where the network computes, such as cuda (default cpu)")
    command.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="what the network computes in"
    )
    command.add_argument("--partition", required=True, help='two sides, such as "3|8"; see below')
    command.add_argument("--samples", type=int, default=300, help="trajectories, over both sides (default 300)")
    command.add_argument("--levels", type=int, default=64, help="noise levels, equally spaced in log-snr (default 64)")
    command.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    command.add_argument("--prior", choices=["balanced", "true"], default="balanced", help="weights of the two sides")
    command.add_argument("--method", choices=["default", "published"], default="default", help="the estimator")
    command.add_argument("--out", type=Path, default=Path("profile"), help='folder of the result (default "profile")')
    command.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    command.set_defaults(command=_profile)


def _profile(arguments: argparse.Namespace) -> None:
    # Imported here, so that --help does not wait for torch.
    import torch
    from tqdm import tqdm

    from companion.estimate.entropy import DEFAULT, PUBLISHED
    from companion.estimate.partition import NULL, parse_partition
    from companion.estimate.profile import default_levels, expected_cost, profile
    from companion.estimate.trajectories import check_seed
    from companion.figures import draw_profile, figure, save
    from companion.files import make_folder, written_whole
    from companion.models.checks import examine, refuse
    from companion.models.load import load

    if arguments.levels < 2:
        raise InputError("--levels", arguments.levels, "at least two noise levels")
    check_seed(arguments.seed)
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError) as error:  # torch has no one error for a device that is not there
        raise InputError("--device", arguments.device, "a device of this torch, such as cpu or cuda") from error
    model = load(arguments.model, arguments.prompt, (), arguments.device, getattr(torch, arguments.dtype))
    partition = parse_partition(model, arguments.partition, arguments.prior)
    levels = default_levels(model, arguments.levels)
    method = {"default": DEFAULT, "published": PUBLISHED}[arguments.method]
    conditions = [None if branch == NULL else branch for branch in partition.branches]
    refuse(examine(model, conditions, [levels[0], levels[len(levels) // 2], levels[-1]]))
    evaluations, seconds = expected_cost(model, partition, levels, arguments.samples, method)
    make_folder(arguments.out, "--out")
    print(f"{evaluations} evaluations of {model.name}, about {seconds:.0f} s", file=sys.stderr)
    with tqdm(total=len(levels) + method.from_nothing, unit="level", desc=partition.label, leave=False) as bar:
        result = profile(model, partition, levels, arguments.samples, arguments.seed, method, progress=bar.update)

    result.save(arguments.out / "profile.json")
    fig, axes = figure(1, 2)
    draw_profile(axes, result)
    with written_whole(arguments.out / "profile.png") as unfinished:
        save(fig, unfinished)
    if arguments.json:
        print(json.dumps({**result.as_dict(), "half_entropy_log_snr": result.half_entropy.value}, allow_nan=False))
    else:
        print(result.summary())
        print(f"  written to                {arguments.out / 'profile.json'} and profile.png")


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
