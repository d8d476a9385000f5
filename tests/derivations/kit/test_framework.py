"""The judge before the judged: worlds, mutants, proofs and TeX on identities whose truth is known."""

import subprocess
import sys

import numpy as np
import pytest
from sympy import Derivative, Function, exp, log, symbols

from companion.exact.laws import production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import cosine, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit.algebra import same_identity, vanishes
from derivations.kit.identity import Identity, Proof, mutants, survivors
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Others,
    Total,
    class_entropy,
    denoiser,
    diffusion,
    i,
    j,
    k,
    kappa,
    log_odds,
    mean,
    mixture_score,
    posterior,
    prior,
    score,
    sigma,
    snr,
    state,
    t,
    tex,
)
from derivations.kit.worlds import World, following, jets, on_mixture, random_fields

SPREAD = Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i)
PAIRWISE = Total(prior[i] * E(i, Norm2(Others(posterior[j] * (score[i] - score[j]), j, i))), i)
FIELDS = (random_fields(0), random_fields(1, classes=4, dimension=3))


@pytest.mark.parametrize("process", [ornstein_uhlenbeck(), cosine(), variance_exploding(), rectified_flow()])
def test_a_world_on_a_mixture_knows_what_quadrature_knows(process):
    mixture = isotropic_mixture([[-1.0], [0.3], [1.2]], 0.4, [0.2, 0.5, 0.3])
    time = 0.4
    world = on_mixture(mixture, process, time)
    entropy = float(mixture.entropy(process.log_snr(np.array(time))))
    assert float(world.value(class_entropy(t))) == pytest.approx(entropy, abs=1e-9)
    rate = float(production_in_time(mixture, process, time))
    # 1e-8 is the accuracy that quadrature promises and the tolerance of this world.
    assert float(world.value(Derivative(class_entropy(t), t))) == pytest.approx(rate, abs=1e-8)
    assert float(world.value(diffusion**2 / 2 * SPREAD).item()) == pytest.approx(rate, abs=1e-8)
    per_snr = float(world.value(-Derivative(class_entropy(snr), snr)))
    spread = E(i, Norm2(denoiser[i] - Total(posterior[j] * denoiser[j], j)))
    assert per_snr == pytest.approx(float(world.value(Total(prior[i] * spread, i) / 2).item()), abs=1e-8)


def test_every_slip_in_a_true_identity_is_caught_but_those_that_say_the_same():
    identity = Identity("eq-x", (SPREAD, PAIRWISE), "ES 35", FIELDS)
    assert identity.holds()
    assert len(list(mutants(identity))) >= 30
    alive = survivors(identity)
    assert [mutant.slip for mutant in alive] == ["(s[i] - s[j])*posterior[j] negated"]  # |-v| is |v|
    assert all(same_identity(mutant, identity) for mutant in alive)


@pytest.mark.parametrize(
    "wrong",
    [
        Total(prior[i] * E(i, Norm2(Others(posterior[j] * (score[i] - score[j]), j, i))), i) / 2,
        Total(prior[i] * E(i, Others(posterior[j] * Norm2(score[i] - score[j]), j, i)), i),
        Total(prior[i] * E(i, Norm2(Others(posterior[i] * (score[i] - score[j]), j, i))), i),
        Total(prior[i] * E(Norm2(Others(posterior[j] * (score[i] - score[j]), j, i))), i),
    ],
)
def test_what_is_not_so_does_not_hold(wrong):
    assert not Identity("eq-x", (SPREAD, wrong), "none", FIELDS).holds()
    assert not vanishes(SPREAD - wrong)


def test_every_kind_of_slip_is_made():
    slips = [mutant.slip for mutant in mutants(Identity("eq-x", (3 * exp(-log_odds[i, j]), prior[k]), "none", FIELDS))]
    for slip in ("3 -> -3", "3 -> 4", "3 -> 6", "-1 -> 1", "-1 -> -2", "i -> j", "j -> k", "k -> i", "side 2 negated"):
        assert any(made.startswith(slip) for made in slips), slip


def test_sympy_proves_what_the_random_fields_confirm():
    assert vanishes(SPREAD - PAIRWISE)
    assert vanishes(E(posterior[1]) - prior[1] * E(1, 1))
    assert vanishes(posterior[2] - exp(-log_odds[1, 2]) / (1 + Others(exp(-log_odds[1, k]), k, 1)))
    assert not vanishes(SPREAD - 2 * PAIRWISE)
    assert not vanishes(Dot(score[1], score[2]) - Norm2(score[1]))
    true = Identity("eq-spread", (SPREAD, PAIRWISE), "ES 33, 35", FIELDS)
    assert not any(same_identity(mutant, true) for mutant in mutants(true) if mutant.slip.startswith("side"))


def test_calculus_follows_an_equation_of_motion():
    x = symbols("x")
    u = Function("u")(x, t)
    world = jets(0, following({u: Derivative(u, x, 2)}))
    entropy = -u * log(u)
    grown = Derivative(entropy, x, 2) + Derivative(u, x) ** 2 / u
    assert world.agree([Derivative(entropy, t), grown])
    assert not world.agree([Derivative(entropy, t), grown + Derivative(u, x)])


def test_a_name_without_a_value_is_named():
    with pytest.raises(KeyError, match="kappa"):
        random_fields(0).value(kappa[1, 2])


def test_a_world_sees_small_differences_and_what_a_sum_leaves_out():
    world, x = random_fields(0), symbols("x")
    assert world.agree([Others(posterior[j], j, 1), 1 - posterior[1]])
    assert not world.agree([Others(posterior[j], j, 1), Total(posterior[j], j)])
    assert not World({x: np.asarray(1.0)}).agree([x, (1 + 1e-9) * x])
    with pytest.raises(IndexError, match="numbered from 1"):
        world.value(posterior[0])


def test_snr_in_a_world_is_that_of_the_process():
    process, time = ornstein_uhlenbeck(), 0.4
    world = on_mixture(isotropic_mixture([[-1.0], [1.0]], 0.4), process, time)
    assert float(world.value(snr)) == pytest.approx(np.exp(float(process.log_snr(np.array(time)))), rel=1e-12)


def test_what_holds_in_one_world_alone_is_no_step():
    x = symbols("x")
    proof = Proof(x, (World({x: np.asarray(1.0)}), World({x: np.asarray(2.0)})))
    with pytest.raises(ValueError, match="does not follow"):
        proof.then("in the first world", 1 + 0 * x)


def test_an_equation_of_motion_says_nothing_of_a_second_derivative_in_time():
    x = symbols("x")
    u = Function("u")(x, t)
    with pytest.raises(ValueError, match="second derivative in time"):
        following({u: Derivative(u, x, 2)})(Derivative(u, (t, 2)))


def test_a_proof_takes_only_steps_that_follow():
    proof = Proof(SPREAD, FIELDS)
    proof.then("write the score of the mixture as a mean of scores", PAIRWISE)
    with pytest.raises(ValueError, match="forget the prior"):
        proof.then("forget the prior", proof.last.xreplace({prior[i]: 1}))
    assert proof.identity("eq-x", "ES 35").holds()
    assert proof.identity("eq-x", "ES 35").sides == (SPREAD, PAIRWISE)
    assert proof._repr_markdown_().count("$$") == 4


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        (sigma**2 * Derivative(sigma, t), r"\sigma^{2} \, \frac{\mathrm{d} \sigma}{\mathrm{d} t}"),
        (Norm2(mixture_score - score[i]), r"\left| s_{i} - s \right|^{2}"),
        (Dot(mean[i] - mean[j], state) / 2, r"\frac{1}{2} \, \left( \mu_{i} - \mu_{j} \right) \cdot x"),
        (
            -Total(prior[i] * E(i, log(posterior[i])), i),
            r"- \sum_{i} \pi_{i} \, \mathbb{E}_{i} \left[ \log p(i \mid x) \right]",
        ),
        (E(state), r"\mathbb{E} x"),
        (1 / (state + t), r"\frac{1}{t + x}"),
        (
            Dot(mean[i], state) * Dot(mean[j], state),
            r"\left( \mu_{i} \cdot x \right) \, \left( \mu_{j} \cdot x \right)",
        ),
        (1 + Others(exp(-log_odds[i, k]), k, i), r"1 + \sum_{k \ne i} e^{- L_{ik}}"),
        (
            Derivative(symbols("x") * Function("p")(symbols("x"), t), symbols("x")),
            r"\frac{\partial}{\partial x} \left( x p \right)",
        ),
        (Derivative(class_entropy(snr), snr), r"\frac{\mathrm{d} H}{\mathrm{d} \operatorname{snr}}"),
    ],
)
def test_tex(expression, printed):
    assert tex(expression) == printed


def test_an_import_proves_nothing_and_makes_no_numbers():
    """Every module of the derivations in a fresh interpreter where no world can be asked and none can be drawn."""
    program = (
        "import importlib, pkgutil, derivations, derivations.kit.worlds as worlds\n"
        "worlds.World.value = worlds.on_mixture = worlds.random_fields = None\n"
        "worlds.Worlds.__getitem__ = None\n"
        "for module in pkgutil.walk_packages(derivations.__path__, 'derivations.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
