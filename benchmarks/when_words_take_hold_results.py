"""Measures when the words of a caption take hold in the shipped model of scenes, and what is true of its scenes.

    python benchmarks/when_words_take_hold_results.py           all of it: a quarter of an hour on one thread
    python benchmarks/when_words_take_hold_results.py boot      one part of it

The parts are boot, bag, trousers, together, floors, failures, guided and cost. They go to
derivations/when_words_take_hold/results/ as JSON, with their origin. The truth needs Fashion-MNIST, which Debian's
package dataset-fashion-mnist installs. What the chapter claims of them is tested in
tests/derivations/when_words_take_hold/test_words_results.py.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp

from benchmarks.harness import rounded, run_parts
from benchmarks.own_model_cost import CARDS, RATE, TEXT_ENCODER, VAE, Case, counted, stable_diffusion
from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition, binary_entropy, partition
from companion.estimate.certificate import Certificate
from companion.estimate.held_out import against_data
from companion.estimate.paths import Paths, path_likelihoods
from companion.estimate.plan import Data
from companion.estimate.result import Profile
from companion.estimate.run import profile, profiles
from companion.guidance import guided
from companion.models.digits import LabelledImages
from companion.models.pretrained import diffusers
from derivations.kit.garments import held_out_garments, training_garments
from derivations.kit.measured import FOLDER
from derivations.when_words_take_hold.network import digest, encoder, opened
from derivations.when_words_take_hold.questions import CELLS, Said, asked, between, law_of, share, text_of
from derivations.when_words_take_hold.scenes import ATTRIBUTES
from derivations.when_words_take_hold.together import AXES, EIGHT, conditional, entropy_of, pairs, shared_information
from derivations.when_words_take_hold.truth import Curve, curve, enumerated, new_scenes, own_scenes

LEVELS = np.linspace(-8.5, 4.0, 41)
BLOCK = 120
POINTS = 8192  # scenes that stand for all that some captions may show, about
SCENES = 120  # noised for each caption, of the enumerated ones and of new ones

# The base captions, and what each variant adds.
BASES: dict[str, tuple[Said, Said]] = {
    "boot": ({"kind": "boot"}, {"wall": "blue wall", "side": "on the left", "colour": "red"}),
    "bag": ({"kind": "bag"}, {"wall": "green wall", "side": "on the right", "colour": "purple"}),
    "trousers": ({"kind": "trousers"}, {"wall": "yellow wall", "side": "on the right", "colour": "turquoise"}),
}
THINGS: Said = {"window": "with a window", "star": "with a star", "tone": "in black and white"}
# Paths of all captions together.
SAMPLES = {"boot": 400, "bag": 280, "trousers": 280, "real": 240, "together": 320, "floors": 240, "failures": 200}
GUIDED = 120  # paths at each weight
WEIGHTS = (1.0, 2.0, 4.0)


def main() -> int:
    parts: dict[str, Callable[[], tuple[dict[str, Any], int]]] = {name: partial(base, name) for name in BASES}
    parts |= {"together": together, "floors": floors, "failures": failures, "guided": guided_paths, "cost": cost}
    folder = FOLDER / "when_words_take_hold" / "results"
    packages = ("torch", "diffusers", "transformers", "numpy")
    return run_parts("when_words_take_hold_results", str(__doc__), parts, folder, packages, rounded)


def base(name: str) -> tuple[dict[str, Any], int]:
    """Every variant against its base caption: the network's curves from one run of all captions, and the exact ones.

    The first base has one more question, which of two kinds, and is asked of new scenes too.
    """
    said, added = BASES[name]
    added = {**added, **THINGS}
    prompts: list[Said] = [said, *({**said, attribute: phrase} for attribute, phrase in added.items())]
    attributes, questions = list(added), [(place, 0) for place in range(1, len(prompts))]
    if name == "boot":
        attributes, questions = [*attributes, "kind"], [*questions, (0, len(prompts))]
        prompts.append({"kind": "sneaker"})
    model, wanted = opened(prompts), [asked(prompts, *each) for each in questions]
    found = profiles(model, wanted, log_snr=LEVELS, samples=SAMPLES[name], seed=0, block=BLOCK)
    evaluations, likelihood = found[0].evaluations, exact_likelihoods(prompts)
    exact = {
        route: of_curves(
            [
                exact_curve(likelihood[scenes], [first], [second], each.floor, crossed)
                for (first, second), each in zip(questions, wanted, strict=True)
            ]
        )
        for route, scenes, crossed in (("own", "own", False), ("new", "new", False), ("cross", "new", True))
    }
    result = described() | {
        "prompts": [text_of(each) for each in prompts],
        "attributes": attributes,
        "questions": [each.label for each in wanted],
        "floor": [each.floor for each in wanted],
        "share": [share({attribute: phrase}, said) for attribute, phrase in added.items()],
        "samples": SAMPLES[name],
        "scenes": SCENES,
        "log_snr": LEVELS,
        "network": columns(found),
        "exact": exact,
    }
    if name == "boot":
        data = scenes_of([law_of(each) for each in prompts], SAMPLES["real"])
        result["real"], more = on_data(model, wanted, found, data)
        evaluations += more
    return result, evaluations


def described() -> dict[str, Any]:
    return {"model": "scenes", "model_digest": digest()}


def columns(found: Sequence[Profile]) -> dict[str, Any]:
    """What of profiles is drawn or printed."""
    result = {name: [getattr(each, name) for each in found] for name in ("entropy", "entropy_se", "half_entropy")}
    return result | {"certificate": [lines(each.certificate) for each in found]}


def lines(certificate: Certificate) -> dict[str, Any]:
    """Of each line that was measured: verdict, value, error."""
    return {each.name: [each.verdict, each.value, each.error] for each in certificate.checks if each.value is not None}


def of_curves(curves: Sequence[Curve]) -> dict[str, Any]:
    return {name: [getattr(each, name) for each in curves] for name in ("entropy", "entropy_se", "half")}


@cache
def all_garments() -> LabelledImages:
    return training_garments()


def exact_likelihoods(prompts: Sequence[Said]) -> dict[str, Array]:
    """log p(x | caption) of enumerated and of new scenes, (captions, scenes, levels, captions)."""
    laws = [law_of(each) for each in prompts]
    cells = int(np.count_nonzero(sum(laws)))
    truth = enumerated(prompts, all_garments(), encoder(), POINTS // cells)
    scenes = {"own": own_scenes(truth, SCENES, seed=1)}
    scenes["new"] = new_scenes(laws, held_out_garments(), encoder(), SCENES, seed=1)
    shape = (len(prompts), SCENES, len(LEVELS), len(prompts))
    return {name: truth.log_likelihoods(clean, LEVELS, seed=2).reshape(shape) for name, clean in scenes.items()}


def exact_curve(
    likelihood: Array, first: Sequence[int], second: Sequence[int], floor: float, crossed: bool = False
) -> Curve:
    """The exact curve of a question between two mixtures of captions, each in equal parts."""
    sides = [
        likelihood[list(side), : SCENES // len(side)].reshape(-1, *likelihood.shape[2:]) for side in (first, second)
    ]
    scenes = np.concatenate(sides)
    odds = [logsumexp(scenes[..., list(side)], axis=2) - np.log(len(side)) for side in (first, second)]
    return curve(odds[0] - odds[1], np.arange(len(scenes)) < len(sides[0]), LEVELS, floor, crossed)


def scenes_of(laws: Sequence[Array], samples: int) -> Data:
    """So many new scenes of several laws over cells, with the numbers of the laws for labels."""
    count = samples // len(laws)
    clean = new_scenes(laws, held_out_garments(), encoder(), count, seed=3)
    return Data(clean, np.repeat(np.arange(len(laws)), count))


def on_data(
    model: Denoiser, wanted: Sequence[Partition], own: Sequence[Profile], data: Data
) -> tuple[dict[str, Any], int]:
    """The same questions on scenes that nobody has seen, noised exactly and scored by the network; and the certificates
    of the network's own curves with what those scenes say of them."""
    found = profiles(model, wanted, log_snr=LEVELS, samples=len(data.labels), seed=1, block=BLOCK, data=data)
    both = [against_data(one, other) for one, other in zip(own, found, strict=True)]
    checked = [lines(each.certificate) for each in both]
    return columns(found) | {"samples": len(data.labels), "checked": checked}, found[0].evaluations


def together() -> tuple[dict[str, Any], int]:
    """Eight captions of three attributes: the levels of their pairs, and what the attributes tell of each other."""
    model, samples = opened(EIGHT), SAMPLES["together"]
    owner = np.arange(samples) % len(EIGHT)
    paths = Paths(range(len(EIGHT)), owner, LEVELS, 0, predicted=True)
    result = described() | {"prompts": [text_of(each) for each in EIGHT], "samples": samples, "log_snr": LEVELS}
    result["network"] = joint(path_likelihoods(model, paths, BLOCK), owner)
    for name, each in exact_likelihoods(EIGHT).items():
        result[name] = joint(each.reshape(-1, *each.shape[2:]), np.repeat(np.arange(len(EIGHT)), SCENES))
    return result, samples * len(EIGHT) * (len(LEVELS) + 1)


def joint(likelihood: Array, owner: Array) -> dict[str, Any]:
    """Entropies of attributes and of two together, what two share, and the half-entropy levels of pairs of captions.

    `rule` is by how much the entropy of the second attribute where the first is told exceeds what the chain rule says.
    """
    result: dict[str, Any] = {"entropy": {}, "shared": {}, "rule": {}}
    for names in [*((each,) for each in AXES), *combinations(AXES, 2)]:
        result["entropy"][" and ".join(names)] = mean(entropy_of(likelihood, names))
    for one, other in combinations(AXES, 2):
        result["shared"][f"{one} and {other}"] = mean(shared_information(likelihood, one, other))
        ruled = entropy_of(likelihood, [one, other]) - entropy_of(likelihood, [one])
        result["rule"][f"{other} given {one}"] = mean(conditional(likelihood, owner, other, one) - ruled)
    result["pairs"] = [each.half for each in pairs(likelihood, owner, LEVELS).values()]
    return result


def mean(values: Array) -> dict[str, Array]:
    """The mean over paths, and its standard error."""
    return {"value": values.mean(axis=0), "se": values.std(axis=0, ddof=1) / np.sqrt(len(values))}


def floors() -> tuple[dict[str, Any], int]:
    """A caption that half of all scenes carry, against its contrary, both of them, and the empty caption."""
    prompts: list[Said] = [{"side": "on the left"}, {"side": "on the right"}]
    model = opened(prompts)
    wanted = [partition(model, [0], second) for second in ("others", "all", "null")] + [partition(model, [NULL], "all")]
    found = profiles(model, wanted, log_snr=LEVELS, samples=SAMPLES["floors"], seed=0, block=BLOCK)
    own, sides = exact_likelihoods([*prompts, {}])["own"], [([0], [1]), ([0], [0, 1]), ([0], [2]), ([2], [0, 1])]
    empty, either = law_of({}), 0.5 * (law_of(prompts[0]) + law_of(prompts[1]))
    of_empty = float(np.sum(0.5 * (empty + either) * binary_entropy(np.log(empty / either))))
    known = [0.0, wanted[1].floor, between(prompts[0], {}).floor, of_empty]
    result = described() | {
        "prompts": [text_of(each) for each in prompts],
        "questions": [each.partition for each in found],
        "floor": known,
        "samples": SAMPLES["floors"],
        "scenes": SCENES,
        "log_snr": LEVELS,
        "network": columns(found),
        "exact": of_curves([exact_curve(own, *both, floor) for both, floor in zip(sides, known, strict=True)]),
    }
    return result, found[0].evaluations


def failures() -> tuple[dict[str, Any], int]:
    """Variants of "boot" that are not what they seem, on the network's own paths and on new scenes of what is meant.

    One denies a thing, which no caption of the training does; one changes the kind beside adding a window; one adds a
    window and no more; and one names a thing that there is in no scene, so that there are no scenes of it.
    """
    boot, window = {"kind": "boot"}, {"window": "with a window"}
    law, windowed = law_of(boot), CELLS[:, list(ATTRIBUTES).index("window")] == 1
    without = np.where(windowed, 0.0, law) / law[~windowed].sum()
    captions = ["boot", "boot, without a window", text_of({"kind": "sneaker", **window}), text_of({**boot, **window})]
    model = opened([*captions, "boot, with a cat"])
    wanted = [partition(model, [place], [0]) for place in range(1, 5)]
    own = profiles(model, wanted, log_snr=LEVELS, samples=SAMPLES["failures"], seed=0, block=BLOCK)
    data = scenes_of([law, without, law_of({**boot, **window}), law_of({**boot, **window})], SAMPLES["failures"])
    real, more = on_data(model, wanted[:3], own[:3], data)
    result = described() | {"questions": [each.partition for each in own], "samples": SAMPLES["failures"]}
    result |= {"log_snr": LEVELS, "own": columns(own), "real": real}
    result["summary"] = [each.summary() for each in own]
    return result, own[0].evaluations + more


def guided_paths() -> tuple[dict[str, Any], int]:
    """On the left or on the right, under guidance: the cross entropy of the unguided posterior on guided paths."""
    model, found = opened([{"kind": "boot", "side": f"on the {each}"} for each in ("left", "right")]), []
    for weight in WEIGHTS:
        rule = guided(model, weight)
        found.append(profile(rule, "#0|#1", log_snr=LEVELS, samples=GUIDED, seed=0, block=BLOCK))
    result = {"weights": WEIGHTS, "samples": GUIDED, "log_snr": LEVELS, "network": columns(found)}
    return described() | result, sum(each.evaluations for each in found)


def cost() -> tuple[dict[str, Any], int]:
    """Stable Diffusion XL and 3 medium beside 1.5: parameters and operations counted on their architectures."""

    def xl() -> Case:
        network = diffusers.UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), transformer_layers_per_block=(1, 2, 10),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(5, 10, 20), cross_attention_dim=2048, use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip

        def call(net: Any, x: torch.Tensor) -> Any:
            beside = {"text_embeds": x.new_empty(len(x), 1280), "time_ids": x.new_empty(len(x), 6)}
            return net(x, x[:, 0, 0, 0], x.new_empty(len(x), 77, 2048), added_cond_kwargs=beside)

        return network, call, (4, 128, 128)

    def three() -> Case:
        network = diffusers.SD3Transformer2DModel(
            sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
            num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
            pooled_projection_dim=2048, pos_embed_max_size=192,
        )  # fmt: skip

        def call(net: Any, x: torch.Tensor) -> Any:
            told = x.new_empty(len(x), 333, 4096)
            return net(x, told, x.new_empty(len(x), 2048), x[:, 0, 0, 0])

        return network, call, (16, 128, 128)

    models = {
        "Stable Diffusion 1.5": (stable_diffusion, 4 * VAE + 2 * TEXT_ENCODER),
        "Stable Diffusion XL": (xl, 4 * VAE + 2 * (TEXT_ENCODER + 694_659_840)),
        "Stable Diffusion 3 medium": (three, 4 * VAE + 2 * (123_650_304 + 694_659_840 + 4_762_310_656)),
    }
    rows = [{"model": name} | counted(make) | {"beside_bytes": beside} for name, (make, beside) in models.items()]
    timed = rows[0]["operations"]
    cards = [
        {"card": name, **card, "share": 2 * card["batch"] * card["iterations_per_second"] * timed / card["peak"]}
        for name, card in CARDS.items()
    ]
    return {"rate": RATE, "models": rows, "cards": cards}, 0


if __name__ == "__main__":
    sys.exit(main())
