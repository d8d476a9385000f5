"""Trains the garments model: `python -m derivations.ten_garments.train --data FOLDER --out FOLDER`.

A class-conditional diffusion model of Fashion-MNIST, 620 thousand weights. The settings below are those of the shipped
model. Ctrl-C keeps all that was done, and the same command goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from companion.models.training import Settings, train
from derivations.kit.command import exit_status
from derivations.kit.garments import CLASSES, FOLDER, training_garments

__all__ = ["CHANNELS", "STEPS", "main", "settings"]

CHANNELS = (16, 32, 64)
STEPS = 4000


def settings(seed: int = 0, steps: int = STEPS) -> Settings:
    """What the shipped model was trained with: 60000 images, seen about four times, need no dropout.

    >>> settings().steps * settings().batch
    256000
    """
    return Settings(seed=seed, steps=steps, batch=64, learning_rate=2e-3, dropout=0.0, average=0.998)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as the command line says; returns 0, 2 for whatever went wrong, said in one line, 130 after Ctrl-C.

    >>> main(["--data", "nowhere", "--out", "nowhere"])
    2
    """
    parser = argparse.ArgumentParser(
        prog="python -m derivations.ten_garments.train",
        description="Train a class-conditional diffusion model on Fashion-MNIST; forty minutes on one idle thread. "
        "Ctrl-C keeps everything done so far, and the same command goes on from there.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the four gzipped IDX files")
    parser.add_argument("--out", type=Path, default=Path("garments-model"), help="folder for the finished model")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps, 64 images each")
    arguments = parser.parse_args(argv)

    def carried_out() -> None:
        chosen = settings(arguments.seed, arguments.steps)
        garments = training_garments(arguments.data)
        train(garments, arguments.out, chosen, name="garments", classes=CLASSES, channels=CHANNELS)
        print(f"the model is in {arguments.out}; companion.load({str(arguments.out.absolute())!r}) opens it")

    return exit_status(parser.prog, carried_out)


if __name__ == "__main__":
    sys.exit(main())
