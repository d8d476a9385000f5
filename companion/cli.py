"""The command line: `companion train digits` and what else a person calls by name.

A command is a function from parsed arguments to nothing; its parser names it with `set_defaults(command=...)`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from companion import __version__
from companion.errors import InputError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for bad input, 130 after Ctrl-C.

    Bad input and files that cannot be read or written end in one line on standard error, never in a traceback.

    >>> main(["train", "digits", "--steps", "0", "--out", "nowhere"])
    2
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (InputError, OSError) as error:
        print(f"companion: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\ncompanion: {interrupt or 'stopped'}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="companion",
        description="Class entropy along diffusion trajectories: when a diffusion model decides what it draws.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  companion train digits --out my-digits --seed 1",
    )
    parser.add_argument("--version", action="version", version=f"companion {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    return parser


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    print(f"the model is in {arguments.out}; companion.models.unet.load({str(arguments.out)!r}) opens it")


if __name__ == "__main__":
    sys.exit(main())
