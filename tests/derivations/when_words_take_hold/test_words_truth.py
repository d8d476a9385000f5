"""The truth that captions are held against: their laws, their floors, and enumerated scenes on two routes."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.special import logsumexp
from scipy.stats import norm

from companion import empirical_distribution, partition, profile
from companion.entropy import binary_entropy, cross_entropy
from companion.errors import InputError
from companion.models.digits import LabelledImages
from derivations.kit.garments import held_out_garments
from derivations.when_words_take_hold.questions import CELLS, asked, between, law_of, share, text_of
from derivations.when_words_take_hold.scenes import ATTRIBUTES, CAPTIONS, caption, named
from derivations.when_words_take_hold.truth import Enumerated, curve, enumerated, new_scenes, own_scenes

BOOT = {"kind": "boot"}
STAR = {"star": "with a star"}


def test_eq_words_law_is_what_captions_drawn_at_random_say():
    """Scenes and captions are drawn as in training, and those that say "boot" are counted."""
    source, said, with_star = np.random.default_rng(0), 0, 0
    names = list(ATTRIBUTES)
    boots = CELLS[CELLS[:, names.index("kind")] == 0]  # no other kind can be called a boot
    rounds = np.cumsum([chance for chance, _ in CAPTIONS])
    for values in boots[source.integers(len(boots), size=30_000)].tolist():
        left_out = CAPTIONS[int(np.searchsorted(rounds, source.random()))][1]
        kept = [name for name in named(values) if source.random() >= left_out]
        if caption(values, kept) == "boot":
            said, with_star = said + 1, with_star + values[names.index("star")]
    expected = share(STAR, BOOT)
    # Four standard deviations of a frequency: a false alarm in 16 thousand runs, and the seed is fixed.
    assert said > 300
    assert abs(with_star / said - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / said)
    assert abs(0.5 - expected) > 4.0 * math.sqrt(expected * (1.0 - expected) / said)  # silence does say something


def test_a_law_is_one_over_the_cells_that_fit():
    law = law_of(BOOT | {"wall": "blue wall"})
    assert math.isclose(law.sum(), 1.0, rel_tol=1e-12)
    fits = (CELLS[:, 1] == 0) & (CELLS[:, 3] == 0)
    assert (law[fits] > 0.0).all() and (law[~fits] == 0.0).all()
    assert math.isclose(law_of({}).sum(), 1.0, rel_tol=1e-12) and (law_of({}) > 0.0).all()


@pytest.mark.parametrize(
    ("said", "q"), [({"side": "on the left"}, 0.5), ({"wall": "blue wall"}, 0.25), ({"colour": "red"}, 0.25)]
)
def test_the_floor_of_a_part_against_the_whole(said, q):
    """(1 + q)/2 h(1/(1 + q)) where the caption picks a share q of the other's scenes and says nothing else of them."""
    p = 1.0 / (1.0 + q)
    expected = 0.5 * (1.0 + q) * (-p * math.log(p) - (1.0 - p) * math.log(1.0 - p))
    # Naming one more attribute tells a little of which captions are long, and so of the things that are not named.
    assert math.isclose(between(BOOT | said, BOOT).floor, expected, abs_tol=1e-3)
    if q == 0.5:
        left, right = (between({"side": f"on the {each}"}, {}) for each in ("left", "right"))
        mixed = {
            cell: 0.5 * (left.first.get(cell, 0.0) + right.first.get(cell, 0.0)) for cell in left.first | right.first
        }
        floor = type(left)("left|either", left.first, mixed, 0.5).floor
        assert math.isclose(floor, expected, rel_tol=1e-9) and math.isclose(floor, 0.477386, abs_tol=1e-6)


def test_captions_that_exclude_each_other_leave_nothing_open():
    assert between({"wall": "blue wall"}, {"wall": "pink wall"}).floor == 0.0
    question = asked([BOOT, BOOT | STAR], 1, 0)
    assert (question.first, question.second, question.prior) == ({1: 1.0}, {0: 1.0}, 0.5)
    assert question.floor == between(BOOT | STAR, BOOT).floor > 0.3


@pytest.mark.parametrize("said", [{"wall": "brick wall"}, {"hat": "with a hat"}, {"star": ""}])
def test_what_no_scene_has_is_one_clear_line(said):
    with pytest.raises(InputError, match=r"said is .*, expected"):
        text_of(said)


def test_likelihoods_of_captions_are_sums_of_normal_densities():
    points = torch.tensor([[-1.0], [-0.5], [0.2], [1.0]], dtype=torch.float64)
    law = empirical_distribution(points, torch.tensor([0, 0, 1, 2]))
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]], dtype=torch.float64)
    clean, levels = torch.tensor([[0.4], [-0.7]], dtype=torch.float64), np.array([-2.0, 1.0])
    found = Enumerated(law, weights).log_likelihoods(clean, levels, seed=3)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    of_point = weights.numpy()[:, [0, 0, 1, 2]] / np.array([2.0, 2.0, 1.0, 1.0])
    for k, sigma in enumerate(np.exp(-levels / 2.0)):
        densities = norm.pdf(clean.numpy() + sigma * noise, points.numpy().T, sigma) @ of_point.T
        ratio = np.log(densities[:, 0] / densities[:, 1])
        assert np.allclose(found[:, k, 0] - found[:, k, 1], ratio, rtol=1e-9)


def shrunk(images):
    """The pictures' means over 8x8 pixels: latents that need no network."""
    return torch.nn.functional.avg_pool2d(images, 8)


def test_the_two_routes_to_the_entropy_agree():
    """Scenes noised exactly and scored at once, against the enumerated denoiser's own paths, of the same question."""
    prompts = [{"kind": "bag", "side": "on the left"}, {"kind": "bag", "side": "on the right"}]
    truth = enumerated(prompts, held_out_garments(), shrunk, each=2)
    levels = np.linspace(-6.0, 4.0, 33)
    likelihood = truth.log_likelihoods(own_scenes(truth, 400, seed=1), levels)
    exact = curve(likelihood[:, :, 0] - likelihood[:, :, 1], np.arange(800) < 400, levels, 0.0)
    bounds = torch.tensor(truth.law.bounds)
    of_point = (truth.weights / bounds.diff()).repeat_interleave(bounds.diff(), dim=1)  # (captions, points)
    labels, weights = (of_point[1] > 0.0).long(), (0.5 * of_point.sum(dim=0)).numpy()
    two = empirical_distribution(truth.law.points, labels, weights)
    found = profile(two, partition(two, [0], [1]), log_snr=levels, samples=600, seed=2)
    apart = np.abs(found.entropy - exact.entropy) / np.hypot(found.entropy_se, exact.entropy_se).clip(1e-3)
    # 33 levels, neighbours alike: five standard errors anywhere has a chance below 2e-5.
    assert apart.max() < 5.0
    assert exact.entropy[0] > 0.6 and exact.entropy[-1] < 0.05  # the whole decision is inside
    assert abs(found.half_entropy.value - exact.half[0]) < 0.3


def test_scenes_follow_their_captions():
    prompts = [{"kind": "bag"}, {"kind": "bag", "wall": "blue wall", "side": "on the left"}]
    garments = held_out_garments()
    clean = new_scenes([law_of(each) for each in prompts], garments, lambda pictures: pictures, each=200, seed=4)
    corner = clean[200:, :, 0, 0]  # wall in every scene
    blue = torch.tensor([45.0, 70.0, 155.0]) / 127.5 - 1.0
    coloured = (corner - blue).abs().max(dim=1).values < 1e-4
    grey = (corner.amax(dim=1) - corner.amin(dim=1)) < 1e-4
    assert (coloured | grey).all()
    # The only other thing that changes it is the tone, and silence leaves that as often as Bayes' rule says.
    expected = share({"tone": "in black and white"}, prompts[1])
    assert abs(float(grey.float().mean()) - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / 200)


def test_prop_words_bracket():
    """E H_n <= H <= E cross entropy, for two normal classes enumerated by n points each, all by quadrature."""
    sigma, x = 0.7, np.linspace(-12.0, 12.0, 801)
    means, width = np.array([-1.0, 1.0]), 1.0

    def entropy_of(posterior_odds, density):
        return trapezoid(density * binary_entropy(posterior_odds), x)

    of_law = [norm.logpdf(x, mean, math.hypot(width, sigma)) for mean in means]
    density = 0.5 * sum(np.exp(each) for each in of_law)
    exact = entropy_of(of_law[0] - of_law[1], density)
    generator, gaps = np.random.default_rng(0), []
    for n in (3, 12, 48):
        own, crossed = [], []
        for _ in range(100):
            points = means[:, None] + width * generator.standard_normal((2, n))
            logs = [logsumexp(norm.logpdf(x[:, None], each, sigma), axis=1) - math.log(n) for each in points]
            odds = logs[0] - logs[1]
            own.append(entropy_of(odds, 0.5 * np.exp(logs).sum(axis=0)))
            surprise = cross_entropy(odds, 0.0), cross_entropy(odds, 1.0)
            crossed.append(trapezoid(0.5 * (np.exp(of_law[1]) * surprise[0] + np.exp(of_law[0]) * surprise[1]), x))
        errors = [np.std(each, ddof=1) / math.sqrt(100) for each in (own, crossed)]
        assert np.mean(own) < exact + 2.0 * errors[0]
        assert min(crossed) > exact  # of every set, not only on average
        gaps.append((exact - np.mean(own), np.mean(crossed) - exact))
    assert gaps[0][0] > gaps[1][0] > 0.0 and gaps[0][1] > gaps[1][1] > gaps[2][1] > 0.0  # more points, nearer


def test_a_curve_is_that_of_known_log_odds():
    """Of log-odds that are calibrated by construction h and the cross entropy have one mean."""
    levels, generator = np.linspace(-4.0, 4.0, 41), np.random.default_rng(1)
    kappa = np.exp(levels)
    noise, of_first = generator.standard_normal((4000, 1)), np.arange(4000) % 2 == 0
    odds = np.where(of_first[:, None], 1.0, -1.0) * kappa / 2.0 + np.sqrt(kappa) * noise
    own, crossed = (curve(odds, of_first, levels, 0.0, each) for each in (False, True))
    assert np.abs(own.entropy - crossed.entropy).max() < 5.0 * np.hypot(own.entropy_se, crossed.entropy_se).max()
    for each in (own, crossed):  # two points at distance one: half of it is left at kappa = 4.17605
        assert each.half[1] - 0.05 < math.log(4.17605) < each.half[2] + 0.05
    nowhere = curve(np.zeros((8, 41)), of_first[:8], levels, 0.0)
    assert np.isnan(nowhere.half).all()


def test_garments_that_are_not_there_are_not_shown():
    few = LabelledImages(torch.zeros(3, 1, 28, 28), torch.tensor([8, 8, 8]))
    with pytest.raises(InputError, match="each is 4, expected 1 to 3"):
        enumerated([{"kind": "bag"}], few, shrunk, each=4)
