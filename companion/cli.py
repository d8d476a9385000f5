"""The command line: `companion profile` measures when a model decides, `companion train digits` trains a small one.

A command is a function from parsed arguments to nothing; its parser names it with `set_defaults(command=...)`.
"""

import argparse
import io
import json
import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from companion import __version__
from companion.errors import InputError, first_line

if TYPE_CHECKING:
    from companion.estimate.result import Profile

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for whatever went wrong, 130 after Ctrl-C.

    Whatever goes wrong ends in one line on standard error, never in a traceback; where the input is not to blame, the
    line names the kind of error and the place in the code. Of several processes one speaks.

    >>> main(["train", "digits", "--steps", "0", "--out", "nowhere"])
    2
    """
    with redirect_stdout(_Lasting(sys.stdout, "standard output")), redirect_stderr(_Lasting(sys.stderr, "")):
        try:
            arguments = _parser().parse_args(argv)
            arguments.command(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            _say(f"\ncompanion: {str(interrupt) or 'stopped'}")
            return 130
        except Exception as error:
            _say(f"companion: error: {_one_line(error)}")
            return 2
    return 0


class _Lasting(io.TextIOBase):
    """A stream that a run outlives: closed, its reader gone, or its encoding too small for a name.

    What a terminal cannot show is written with backslashes, and what nobody reads is dropped. OSError once, for the
    stream called `name`, where what is written is lost otherwise, on a full disk.
    """

    def __init__(self, stream: TextIO | None, name: str):
        self.stream, self.name = stream, name

    def write(self, text: str) -> int:
        stream = self.stream
        if stream is not None:
            with self._kept(stream):
                try:
                    stream.write(text)
                except UnicodeEncodeError:
                    encoding = stream.encoding or "ascii"
                    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            with self._kept(self.stream):
                self.stream.flush()

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("a closed stream")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "ascii"

    @contextmanager
    def _kept(self, stream: TextIO) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.stream = None
            with suppress(OSError):  # what is left in its buffer would be tried again at the end, with a status of 120
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            if self.name and not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, self.name) from error


def _is_main() -> bool:
    """Whether this process, of those that have found each other, is the one that speaks."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized() or distributed.get_rank() == 0


def _say(line: str) -> None:
    if _is_main():
        print(line, file=sys.stderr, flush=True)
    else:
        time.sleep(5.0)  # a launcher ends all processes with the first one, and the main one has to speak before


def _one_line(error: Exception) -> str:
    if isinstance(error, InputError | OSError):
        return first_line(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    kind = type(error).__name__
    said = first_line(error)
    return f"{said if said.startswith(kind) else f'{kind}: {said}'} ({Path(where.filename).name}, line {where.lineno})"


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, as every other error here, and which drops nothing that was said twice."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.register("action", None, _Once)
        self._negative_number_matcher = re.compile(r"-\d|-.*\|")  # a partition such as -1|3 is no option either

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"companion: error: {' '.join(message.split())}; see {self.prog} --help\n")


class _Once(argparse.Action):
    """Keeps one value, and refuses a second."""

    given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if self.given:
            raise argparse.ArgumentError(self, "given twice, expected once")
        self.given = True
        setattr(namespace, self.dest, values)


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
        "several processes, each with its own device, share a run:\n"
        "  torchrun --nproc_per_node 2 -m companion.cli profile --device cuda ...",
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

    from companion.entropy import NULL, parse_partition
    from companion.estimate.cost import expected_cost
    from companion.estimate.noise import check_seed
    from companion.estimate.plan import DEFAULT, PUBLISHED
    from companion.estimate.processes import launched
    from companion.estimate.profile import planned, profile
    from companion.estimate.result import Profile
    from companion.estimate.run import Run
    from companion.files import make_folder
    from companion.models.checks import examine, refuse
    from companion.models.load import SHIPPED, load

    processes = launched()
    if arguments.levels < 2:
        raise InputError("--levels", arguments.levels, "at least two noise levels")
    check_seed(arguments.seed)
    try:
        device = torch.device(arguments.device)
        if processes.count > 1 and device.type != "cpu":
            device = torch.device(device.type, processes.local % getattr(torch, device.type).device_count())
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch has no one error for a device that is not there
        raise InputError("--device", arguments.device, "a device of this torch, such as cpu or cuda") from error
    model = processes.together(
        lambda: load(arguments.model, arguments.prompt, (), str(device), getattr(torch, arguments.dtype))
    )
    if processes.number == 0 and Path(arguments.model).is_dir() and arguments.model in SHIPPED:
        print(f"{arguments.model} is the shipped model; the folder is ./{arguments.model}", file=sys.stderr)
    partition = parse_partition(model, arguments.partition, arguments.prior)
    method = {"default": DEFAULT, "published": PUBLISHED}[arguments.method]
    asked = {name: getattr(arguments, name) for name in ("samples", "levels", "tolerance", "block")}
    plan, pilot = planned(model, [partition], seed=arguments.seed, method=method, **asked)
    run, written = Run(arguments.out, processes), arguments.out / "profile.json"
    speaks = processes.number == 0
    drawn = written.with_suffix(".png")
    if not run.finished(model, plan, pilot, asked, written):
        left = run.missing(plan) + (0 if pilot is None else run.missing(pilot))
        if left > 0:
            conditions = [None if branch == NULL else branch for branch in plan.branches]
            levels = [plan.log_snr[0], plan.log_snr[len(plan.log_snr) // 2], plan.log_snr[-1]]
            refuse(examine(model, conditions, levels), arguments.trust)
            cost = processes.together(lambda: expected_cost(model, plan, pilot, left, processes.count))
        processes.together(lambda: make_folder(arguments.out, "--out"))
        label = textwrap.shorten(partition.label, 40, placeholder="...")
        with run.alone():
            if left > 0 and speaks:
                print(("at least " if arguments.tolerance else "") + cost.said_of(model.name), file=sys.stderr)
            with tqdm(total=left, unit=" evaluations", desc=label, leave=False, disable=not speaks) as bar:
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
                    kept = f"{run.kept} finished blocks are kept in {arguments.out}"
                    raise KeyboardInterrupt(f"stopped; {kept}, and the same command goes on") from None
            if speaks:
                sampling = result.sampling + (f"; {run.mixture}" if run.mixture else "")
                # The seconds of all attempts and processes: the same for whoever looks at the same blocks.
                replace(result, seconds=run.seconds, sampling=sampling).save(written)
                drawn.unlink(missing_ok=True)  # it shows an earlier result
                run.finish(asked, written)
    if speaks:
        result = Profile.load(written)
        _show(result, written, arguments.json)
        if not drawn.is_file():
            _draw(result, drawn)


def _show(result: "Profile", written: Path, as_json: bool) -> None:
    if as_json:
        text = json.dumps({**result.as_dict(), "half_entropy_log_snr": result.half_entropy.value}, allow_nan=False)
    else:
        text = f"{result.summary()}\n  written to                {written}"
    print(text, flush=True)


def _draw(result: "Profile", path: Path) -> None:
    """The picture of a finished run, or one line that says why there is none."""
    os.environ["MPLBACKEND"] = "agg"  # a name that matplotlib does not know would stop its import
    try:
        from companion.figures import save_plot

        save_plot(path, result)
    except Exception as error:
        print(f"companion: {path.name} was not drawn: {_one_line(error)}", file=sys.stderr, flush=True)


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
    print(f"the model is in {arguments.out}; companion.models.load.load({str(arguments.out.absolute())!r}) opens it")


if __name__ == "__main__":
    sys.exit(main())
