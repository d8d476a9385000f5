"""Trains small networks on samples of joint Gaussians, for the chapter on flattening and determinism.

    python benchmarks/flattening_and_determinism_results.py              all of them: a quarter of an hour of a core
    python benchmarks/flattening_and_determinism_results.py flattening   one of: flattening, determinism, wide, why

They go to derivations/flattening_and_determinism/results/ as JSON, with their origin. As in the paper (SI 40, Figures 4
and 9 to 13) a network without the condition and one with it learn from samples, with the weight of the likelihood. Each
finished row is kept in a folder `flattening` for temporary files, and a run that was stopped goes on from there.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.harness import rounded, run_parts
from companion.files import write_text
from derivations.flattening_and_determinism import networks
from derivations.flattening_and_determinism.networks import Sampler, Velocity
from derivations.flattening_and_determinism.spectra import flattened
from derivations.kit.joint_gaussian import Joint, random_joint
from derivations.kit.measured import FOLDER

EXAMPLE, ENDS = 0, (-8.0, 16.0)  # the seed of the laws, and the log-snr between which is trained and read
LOG_SNR = np.linspace(*ENDS, 49)
HIDDEN, STEPS, BATCH, RATE = 256, 3000, 256, 2e-3
PAIRS = 2000  # at each level, of fresh pairs
FLATTENED = {"dimension": 25, "kept": 8, "conditions": 15, "noise": 1.0}
LEAST = (1e-1, 1e-2, 1e-4, 1e-6)
WIDE_LEAST = (1e-2, 1e-4, 1e-6)
NOISES = (1.0, 0.6, 0.25, 0.05)
WIDE = {"dimension": 50, "kept": 10, "conditions": 8, "noise": 1.0}
THIN = 1e-6  # of the law on which variants are compared
FEW = 1000

KEPT = Path(tempfile.gettempdir()) / "flattening"


def kept_row(name: str, settings: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The row from the folder where it was measured with these settings before, else measured and put there."""
    path = KEPT / f"{name}.json"
    known = json.loads(json.dumps(settings))
    if path.is_file() and (found := json.loads(path.read_text("utf-8")))["settings"] == known:
        return found["row"]
    started = time.process_time()
    row = measure()
    plain = {key: np.asarray(value).tolist() for key, value in row.items()}
    plain["seconds"] = time.process_time() - started
    KEPT.mkdir(exist_ok=True)
    write_text(path, json.dumps({"settings": known, "row": plain}))
    return plain


def pair_of_networks(joint: Joint, sampler: Sampler, steps: int = STEPS, hidden: int = HIDDEN) -> list[Velocity]:
    """One without the condition and one with it, trained on the sampler's pairs."""
    found = []
    for conditions in (0, len(joint.condition)):
        torch.manual_seed(EXAMPLE)
        network = Velocity(len(joint.root), conditions, hidden)
        networks.train(network, sampler, ENDS, steps, BATCH, RATE)
        found.append(network)
    return found


def row(
    joint: Joint, steps: int = STEPS, hidden: int = HIDDEN, samples: int | None = None, kept: int | None = None
) -> dict[str, Any]:
    """What a pair of networks says of a law; with `samples`, of that many pairs, on which they are asked too."""
    fresh = networks.standardised(joint, np.random.default_rng([EXAMPLE, 1]))
    drawn = fresh
    if samples is not None:
        drawn = networks.drawn_from(*fresh(samples), np.random.default_rng([EXAMPLE, 2]))
    pair = pair_of_networks(joint, drawn, steps, hidden)
    found: dict[str, Any] = networks.readings(joint, *pair, LOG_SNR, fresh, PAIRS, seed=3)
    if samples is not None:
        own = networks.readings(joint, *pair, LOG_SNR, drawn, PAIRS, seed=3)
        found |= {f"own_{name}": values for name, values in own.items()}
    if kept is not None:
        found["gain"], found["thin"] = networks.across(joint, pair[0], kept, LOG_SNR, PAIRS, seed=4)
    return found


def gathered(part: str, laws: dict[str, tuple[Joint, dict[str, Any]]]) -> tuple[dict[str, Any], int]:
    """All rows of a part, a field a reading, and the evaluations that they took."""
    rows, evaluations = [], 0
    for name, (joint, choices) in tqdm(laws.items(), desc=part):
        settings = {
            "ends": ENDS,
            "levels": len(LOG_SNR),
            "training": (STEPS, BATCH, RATE, HIDDEN, PAIRS),
            "law": [joint.information(), joint.log_determinant],
            **choices,
        }
        rows.append(kept_row(f"{part} {name}", settings, lambda law=joint, of=choices: row(law, **of)))
        evaluations += 2 * choices.get("steps", STEPS) * BATCH
        evaluations += (5 if "samples" in choices else 3 if "kept" in choices else 2) * PAIRS * len(LOG_SNR)
    names = list(dict.fromkeys(name for each in rows for name in each))
    fields = {f"{name}_of_rows" if name == "seconds" else name: [each.get(name) for each in rows] for name in names}
    return {"ends": ENDS, "log_snr": LOG_SNR, "steps": STEPS, "hidden": HIDDEN, "batch": BATCH, **fields}, evaluations


def flattening() -> tuple[dict[str, Any], int]:
    """Figures 4 and 11: 25 dimensions, 17 of them ever thinner."""
    laws = {f"{least:g}": (flattened(**FLATTENED, least=least, seed=EXAMPLE), {"kept": 8}) for least in LEAST}
    found, evaluations = gathered("flattening", laws)
    return {**FLATTENED, "least": LEAST, **found}, evaluations


def determinism() -> tuple[dict[str, Any], int]:
    """Figures 4 and 12: the same data, and a condition with ever less noise."""
    laws = {f"{noise:g}": (random_joint(25, 15, noise, EXAMPLE), {}) for noise in NOISES}
    found, evaluations = gathered("determinism", laws)
    return {"dimension": 25, "conditions": 15, "noises": NOISES, **found}, evaluations


def wide() -> tuple[dict[str, Any], int]:
    """Figures 9 and 13: 50 dimensions, 40 of them ever thinner."""
    laws = {f"{least:g}": (flattened(**WIDE, least=least, seed=EXAMPLE), {}) for least in WIDE_LEAST}
    found, evaluations = gathered("wide", laws)
    return {**WIDE, "least": WIDE_LEAST, **found}, evaluations


def why() -> tuple[dict[str, Any], int]:
    """The thinnest law of 25 dimensions again: less and more training, a smaller network, few samples."""
    choices: dict[str, dict[str, Any]] = {
        "a quarter of the steps": {"steps": STEPS // 4},
        "a quarter of the width": {"hidden": HIDDEN // 4},
        f"{FEW} samples": {"samples": FEW},
        "four times the steps": {"steps": 4 * STEPS},
    }
    joint = flattened(**FLATTENED, least=THIN, seed=EXAMPLE)
    found, evaluations = gathered("why", {name: (joint, {"kept": 8, **each}) for name, each in choices.items()})
    return {**FLATTENED, "least": THIN, "variants": list(choices), **found}, evaluations


PARTS = {"flattening": flattening, "determinism": determinism, "wide": wide, "why": why}


def main() -> int:
    folder = FOLDER / "flattening_and_determinism/results"
    packages = ("torch", "numpy", "scipy")
    script = "flattening_and_determinism_results"
    return run_parts(script, __doc__ or "", PARTS, folder, packages, rounded)


if __name__ == "__main__":
    sys.exit(main())
