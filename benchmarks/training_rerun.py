"""Are the shipped networks what their commands make? Each training again for a tenth of its length, as a user runs it.

    python benchmarks/training_rerun.py [digits garments scenes]       about eight minutes on one idle thread

A command runs as a process of its own until its checkpoints have a tenth of all its steps; then it gets a real Ctrl-C.
The loss it kept, in means of every 100 steps, is held against the course that the shipped companion.json records. A
tenth of the scenes' training is a part of the autoencoder's; `--share 0.5` goes on into the denoiser's. On the machine
and with the versions that the weights come from the means are the same to their last digit. Elsewhere they agree within
noise:

    | log s_k - log r_k | <= z sqrt(2) tau   for every k,
    tau = median | log r_{k+1} - 2 log r_k + log r_{k-1} | / (0.674 sqrt 6),

with r_k the recorded means, s_k the new ones, and z the normal quantile at which one in a thousand reruns fails. tau is
the deviation of one mean about the line through its neighbours, taken over the whole course by a median, which its
first steep fall does not move. It is more than a rerun with the same seed needs, which sees the same batches.

Goes to benchmarks/results/training_rerun.json. The exit status is 1 where a curve differs.
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from scipy.stats import norm

import companion.models.training
import derivations.ten_garments.train
import derivations.when_words_take_hold.train
from companion.files import write_text

FALSE_ALARM = 0.001
MEAN_OF = 100


@dataclass(frozen=True)
class Training:
    """A command, and the folder of the model it made."""

    command: tuple[str, ...]
    shipped: Path


def beside(module: Any, *parts: str) -> Path:
    return Path(module.__file__).parent.joinpath(*parts)


TRAININGS = {
    "digits": Training(("companion", "train", "digits"), beside(companion.models.training, "weights", "digits")),
    "garments": Training(("derivations.ten_garments.train",), beside(derivations.ten_garments.train, "weights")),
    "scenes": Training(
        ("derivations.when_words_take_hold.train",), beside(derivations.when_words_take_hold.train, "weights")
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(TRAININGS)}; all when none is named")
    parser.add_argument("--share", type=float, default=0.1, help="of each training's length, from 0 to 1")
    arguments = parser.parse_args()
    names = arguments.names or list(TRAININGS)
    if unknown := set(names) - set(TRAININGS):
        parser.error(f"no training {', '.join(sorted(unknown))}; there are {', '.join(TRAININGS)}")
    path = Path(__file__).parent / "results" / "training_rerun.json"
    for name in names:
        again = rerun(TRAININGS[name], arguments.share)
        print(f"{name}: {again}", flush=True)
        results = (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}) | {name: again}
        write_text(path, json.dumps(results, indent=1) + "\n")
    return int(any(not part["within_noise"] for each in results.values() for part in each.get("parts", {}).values()))


def rerun(training: Training, share: float) -> dict[str, Any]:
    """What a share of the training again says of the record; nothing but a sentence where the record has no losses."""
    described = json.loads((training.shipped / "companion.json").read_text(encoding="utf-8"))
    if "losses" not in described:
        return {"compared": "nothing: the model was trained before its course was recorded"}
    settings, started = described["training"], time.perf_counter()
    # What is trained before the network has a folder of its own in the network's.
    courses = {part: course["losses"] for part, course in settings.items() if isinstance(course, dict)}
    courses["."] = described["losses"]
    enough = share * MEAN_OF * sum(map(len, courses.values()))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "model")
        chosen = ("--seed", str(settings["seed"]), "--steps", str(settings["steps"]), "--out", str(out))
        run = subprocess.Popen([sys.executable, "-m", *training.command, *chosen])
        while run.poll() is None and sum(steps_of(out / part) for part in courses) < enough:
            time.sleep(1.0)
        run.send_signal(signal.SIGINT)
        status = run.wait()
        if status != 130:
            raise RuntimeError(f"{' '.join(training.command)} ended with {status}, not as after Ctrl-C")
        parts = {
            part if part != "." else "network": compared(losses_of(out / part), recorded)
            for part, recorded in courses.items()
            if steps_of(out / part) >= MEAN_OF
        }
    return {"share": share, "seconds": round(time.perf_counter() - started), "parts": parts}


def steps_of(folder: Path) -> int:
    """How many steps the checkpoint in a folder has behind it; 0 where there is none."""
    try:
        with safe_open(folder / "checkpoint.safetensors", framework="np") as stored:
            return int(json.loads(stored.metadata()["step"]))
    except (OSError, SafetensorError):
        return 0


def losses_of(folder: Path) -> np.ndarray:
    with safe_open(folder / "checkpoint.safetensors", framework="np") as stored:
        losses: np.ndarray = stored.get_tensor("losses").astype(np.float64)
    return losses


def compared(losses: np.ndarray, recorded: list[float]) -> dict[str, Any]:
    """The new course, (steps,), against the recorded means."""
    count = len(losses) // MEAN_OF
    means, record = losses[: count * MEAN_OF].reshape(count, MEAN_OF).mean(axis=1), np.array(recorded)
    deviation = float(np.median(np.abs(np.diff(np.log(record), 2)))) / (float(norm.ppf(0.75)) * math.sqrt(6.0))
    apart = np.abs(np.log(means) - np.log(record[:count]))
    allowed = float(norm.isf(FALSE_ALARM / (2 * count))) * math.sqrt(2.0) * deviation
    return {
        "means_compared": count,
        "same_to_the_last_digit": int((means.round(5) == record[:count]).sum()),
        "largest_difference_of_logarithms": round(float(apart.max()), 5),
        "allowed": round(allowed, 5),
        "within_noise": bool((apart <= allowed).all()),
    }


if __name__ == "__main__":
    sys.exit(main())
