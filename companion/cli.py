"""The command line: a command parses its arguments and calls one function, which it names with `set_defaults`."""

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from companion import __version__
from companion.errors import InputError, one_line
from companion.files import Lasting

if TYPE_CHECKING:
    from companion.denoiser import Denoiser
    from companion.estimate.cost import Cost
    from companion.estimate.result import Profile

__all__ = ["main"]

_Result = TypeVar("_Result")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for whatever went wrong, 130 after Ctrl-C.

    Whatever goes wrong ends in one line on standard error, never in a traceback; where the input is not to blame, the
    line names the kind of error and the place in the code. Of several processes number 0 speaks.

    >>> main(["train", "digits", "--steps", "0", "--out", "nowhere"])
    2
    """
    with redirect_stdout(Lasting(sys.stdout, "standard output")), redirect_stderr(Lasting(sys.stderr, "")):
        try:
            arguments = _parser().parse_args(argv)
            arguments.command(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            print(f"\ncompanion: {str(interrupt) or 'stopped'}", file=sys.stderr, flush=True)
            return 130
        except Exception as error:
            print(f"companion: error: {one_line(error)}", file=sys.stderr, flush=True)
            return 2
    return 0


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, as every other error here, and which drops nothing that was said twice."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.register("action", None, _Once)
        self._negative_number_matcher = re.compile(r"-[\d.]|-.*\|")  # a partition such as -1|3 is no option either

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"companion: error: {' '.join(message.split())}; see {self.prog} --help\n")


class _Once(argparse.Action):
    """Keeps one value, and refuses a second."""

    given = False

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
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
        "  companion information --model digits\n"
        "  companion guide 3-or-8\n"
        "  companion train digits --out my-digits --seed 1",
    )
    parser.add_argument("--version", action="version", version=f"companion {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_profile(commands)
    _add_information(commands)
    _add_guide(commands)
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
        "with --guidance what is measured is a cross entropy: paths are guided, and scored without guidance\n\n"
        "writes OUT/profile.json (open it with companion.Profile.load) and OUT/profile.png; several\n"
        "partitions come from one run, in OUT/profile-1.json, OUT/profile-2.json, ... in the order given. Blocks of\n"
        "paths are kept in OUT/blocks as soon as they are finished: stopped or killed at any moment, the same command\n"
        "goes on from there and ends with the same numbers, to the bit. --tolerance may be added or changed; another\n"
        "--block uses what is finished, with the same numbers to rounding; anything else wants another OUT\n\n"
        "several processes, each with its own device, share a run:\n"
        "  torchrun --nproc_per_node 2 -m companion profile --device cuda ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option("--partition", action="append", required=True, help='two sides, such as "3|8"; see below; once for each')
    _add_run(command, Path("profile"))
    option("--guidance", type=float, metavar="W", help="guide the paths by this weight; 1 is no guidance")
    option("--interval", type=_interval, metavar="A,B", help="guide from log-snr A to B only, such as -2.5,0.5")
    option("--prior", choices=["balanced", "true"], default="balanced", help="weights of the two sides")
    option("--method", choices=["default", "published"], default="default", help="the estimator")
    command.set_defaults(command=_profile)


def _add_run(command: _OneLineParser, out: Path) -> None:
    """The options that every run has."""
    several: dict[str, Any] = {"action": "append", "default": []}
    option = command.add_argument
    option("--model", default="digits", help='a shipped model ("digits", the default) or a folder, such as ./digits')
    option("--prompt", **several, help="a class of a text-to-image model; once for each")
    option("--device", default="cpu", help="where the network computes, such as cuda (default cpu)")
    types = ["float32", "bfloat16", "float16"]
    option("--dtype", choices=types, default="float32", help="what the network computes in")
    option("--samples", type=int, default=300, help="trajectories, over all sides and classes (default 300)")
    option("--tolerance", type=float, help="nats: add trajectories until the band is no wider on either side")
    option("--levels", type=int, default=128, help="noise levels, which a pilot run places (default 128)")
    evaluated = "trajectories evaluated at once, which bounds the memory (default 150)"
    option("--block", type=int, default=150, help=evaluated)
    option("--seed", type=int, default=0, help="seed of everything random (default 0)")
    option("--out", type=Path, default=out, help=f'folder of the run and its result (default "{out}")')
    checks = ["null", "clipping", "first level", "last level"]
    option("--trust", **several, choices=checks, help="go on although this check of the model fails; once for each")
    option("--json", action="store_true", help="print the result as JSON and nothing else")


def _add_information(commands: "argparse._SubParsersAction[_OneLineParser]") -> None:
    command = commands.add_parser(
        "information",
        help="the mutual information of a model's samples and their classes",
        description="Measure the mutual information of samples and classes: of the model's own chain, between 0 and\n"
        "H(Y) for any network, and with --data a lower bound of that of the data. Every other route beside it.",
        epilog="writes OUT/information.json (open it with companion.Information.load). Blocks of paths are kept in\n"
        "OUT/model and OUT/data, and the same command goes on from there, as companion profile does",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run(command, Path("information"))
    command.add_argument("--data", type=Path, metavar="FILE", help="an .npz with samples and labels, held out")
    command.set_defaults(command=_information)


def _information(arguments: argparse.Namespace) -> None:
    # Imported here, so that --help does not wait for torch.
    import numpy as np
    import torch

    from companion.errors import foreign
    from companion.estimate.information import Information, mutual_information

    data = None
    if arguments.data is not None:
        told = foreign("data", arguments.data, "an .npz file with arrays samples and labels")
        with told, np.load(arguments.data, allow_pickle=False) as stored:
            data = torch.from_numpy(stored["samples"]), stored["labels"]

    def measured(model: "Denoiser", options: dict[str, Any]) -> Information:
        return mutual_information(model, data, arguments.out, **options)

    found = _carried_out(arguments, "mutual information", measured)
    if found is not None:
        said = json.dumps(found.as_dict(), allow_nan=False) if arguments.json else found.summary()
        print(said if arguments.json else f"{said}\n  written to                {arguments.out / 'information.json'}")


def _interval(text: str) -> tuple[float, float]:
    try:
        first, last = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no pair of log-snr, such as -2.5,0.5") from None
    return first, last


def _profile(arguments: argparse.Namespace) -> None:
    # Imported here, so that --help does not wait for torch.
    from companion.estimate.blocks import result_paths
    from companion.estimate.plan import DEFAULT, PUBLISHED
    from companion.estimate.run import run
    from companion.guidance import guided

    if arguments.guidance is None and arguments.interval is not None:
        raise InputError("--interval", ",".join(map(str, arguments.interval)), "--guidance, a weight, beside it")
    results, picture = result_paths(arguments.out, len(arguments.partition)), arguments.out / "profile.png"

    def measured(model: "Denoiser", options: dict[str, Any]) -> "list[Profile]":
        if os.path.exists(picture) and not any(map(os.path.exists, (*results, arguments.out / "run.json"))):
            raise InputError("picture", picture, "no file of another run there; move it, or name another folder")
        asked = model if arguments.guidance is None else guided(model, arguments.guidance, arguments.interval)
        options |= {"prior": arguments.prior, "method": PUBLISHED if arguments.method == "published" else DEFAULT}
        return run(asked, arguments.partition, arguments.out, **options)

    # The null branch is asked where levels are guided, and the pilot places them.
    found = _carried_out(arguments, ", ".join(arguments.partition), measured, arguments.guidance is not None)
    if found is not None:
        _show(found, results, picture, arguments.json)


def _carried_out(
    arguments: argparse.Namespace,
    label: str,
    measured: "Callable[[Denoiser, dict[str, Any]], _Result]",
    roughly: bool = False,
) -> "_Result | None":
    """What is measured on the model that the command line names, with a bar; None in all processes but the first."""
    import torch
    from tqdm import tqdm

    from companion.estimate.processes import Together, launched
    from companion.models.load import SHIPPED, load

    processes = launched()
    if processes.number > 0:
        sys.stdout = sys.stderr = Lasting(None, "")
    names = ("samples", "levels", "tolerance", "block", "seed", "trust")
    options: dict[str, Any] = {name: getattr(arguments, name) for name in names} | {"processes": processes}
    bar: Any = None

    def on_model() -> "_Result":
        device = processes.device(arguments.device)
        model = load(arguments.model, arguments.prompt, (), device, getattr(torch, arguments.dtype))
        if Path(arguments.model).is_dir() and arguments.model in SHIPPED:
            print(f"{arguments.model} is the shipped model; the folder is ./{arguments.model}", file=sys.stderr)

        def announce(cost: "Cost") -> None:
            nonlocal bar
            about = "at least " if arguments.tolerance else "about " if roughly else ""
            print(about + cost.said_of(model.name), file=sys.stderr)
            said = textwrap.shorten(label, 40, placeholder="...")
            bar = shown.enter_context(tqdm(total=cost.left, unit=" evaluations", desc=said, leave=False))

        with ExitStack() as shown:
            return measured(model, options | {"announce": announce, "progress": lambda count: bar.update(count)})

    try:
        found = processes.together(on_model)
    except Together:
        if processes.number > 0:
            return None  # a launcher ends all processes with the first that fails, and number 0 has to speak before
        raise
    return found if processes.number == 0 else None


def _show(found: "Sequence[Profile]", results: Sequence[Path], picture: Path, as_json: bool) -> None:
    """Prints the results, and draws the picture where it is missing or older, or says in one line why it does not."""
    if as_json:
        values = [{**each.as_dict(), "half_entropy_log_snr": each.half_entropy.value} for each in found]
        print(json.dumps(values if len(values) > 1 else values[0], allow_nan=False), flush=True)
    else:
        for each, path in zip(found, results, strict=True):
            print(f"{each.summary()}\n  written to                {path}", flush=True)
    if picture.is_file() and picture.stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in results):
        return
    os.environ["MPLBACKEND"] = "agg"  # a name that matplotlib does not know would stop its import
    try:
        from companion.figures import save_plot

        save_plot(picture, *found)
    except Exception as error:
        print(f"companion: {picture.name} was not drawn: {one_line(error)}", file=sys.stderr, flush=True)


def _add_guide(commands: "argparse._SubParsersAction[_OneLineParser]") -> None:
    command = commands.add_parser(
        "guide",
        help="where to guide: the interval of a profile, for common schedulers",
        description="Print the interval of noise in which most of the class entropy falls, in log-snr, in sigma, and\n"
        "as timesteps, steps and fractions of steps of common diffusers schedulers.",
        epilog="in Python: Profile.interval says it to any scheduler, GuidanceByNoise and guide_by_noise guide a\n"
        "pipeline by it, and time_grid places sampling steps",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("profile", type=Path, metavar="PROFILE", help="a saved profile, or the folder of a run")
    command.add_argument("--share", type=float, default=0.8, help="central share of the production (default 0.8)")
    command.add_argument("--steps", type=int, default=30, help="steps of the schedulers (default 30)")
    command.add_argument("--json", action="store_true", help="print the intervals as JSON and nothing else")
    command.set_defaults(command=_guide)


def _guide(arguments: argparse.Namespace) -> None:
    from companion.estimate.result import Profile
    from companion.models.steps import on_common_schedulers

    place: Path = arguments.profile
    found = sorted(place.glob("profile*.json"), key=lambda file: (len(file.name), file.name))
    values: list[dict[str, Any]] = []
    for each in map(Profile.load, found or [place]):
        interval = each.interval(arguments.share)
        said = {"partition": each.partition, "log_snr": [interval.first, interval.last], "sigma": interval.sigma}
        values.append({**said, "schedulers": on_common_schedulers(interval, arguments.steps)})
    if arguments.json:
        print(json.dumps(values if len(values) > 1 else values[0], allow_nan=False))
        return
    for value in values:
        print(f"{value['partition']}: the central {100.0 * arguments.share:g}% of the production")
        ends = "log-snr {:.3f} to {:.3f}, sigma {:.3f} to {:.3f}".format(*value["log_snr"], *value["sigma"])
        print(f"  {ends}\n\n  {f'{arguments.steps} steps':30s}       timesteps     calls guided    start   stop")
        for name, row in value["schedulers"].items():
            told = "{:5.1f} to {:5.1f}".format(*row["timesteps"])
            calls = "{} to {} of {}".format(*row["inside"], row["calls"]) if row["inside"] else "none"
            print(f"  {name:30s}  {told}  {calls:>15s}", *(f"{each:7.3f}" for each in row["fractions"] or ()))


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
    print(f"the model is in {arguments.out}; companion.load({str(arguments.out.absolute())!r}) opens it")
