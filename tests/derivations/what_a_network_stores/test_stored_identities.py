"""The identities of the chapter on what a network stores: they hold, no slip in them does, and SymPy proves them."""

import pytest

from derivations.kit.coordinates import residual
from derivations.kit.identity import mutants, survivors
from derivations.what_a_network_stores import proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}

# A reference and a density enter by the slopes of their logarithms alone, so their scale drops out.
SAME = {
    "eq-store-local": {"p/q(x, t) doubled", "q(x, t) negated", "q(x, t) doubled"},
    "eq-store-surprise": {"u(x, t) negated", "u(x, t) doubled"},
}


@pytest.mark.parametrize("label", BY_LABEL)
def test_every_identity_holds_and_no_slip_in_it(label):
    identity = BY_LABEL[label]
    assert identity.holds()
    assert len(list(mutants(identity))) > 10
    alive = survivors(identity)
    assert {mutant.slip for mutant in alive} == SAME.get(label, set())
    for mutant in alive[:3]:
        pairs = zip(mutant.identity.sides, identity.sides, strict=True)
        assert not any(any(residual(changed, side, 1)) for changed, side in pairs if changed != side)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("label", ["eq-store-local", "eq-store-surprise"])
def test_calculus_on_abstract_densities_leaves_exactly_zero(label, dimension):
    assert residual(*BY_LABEL[label].sides, dimension, 1) == [0] * dimension


def test_proofs_end_where_the_identities_do():
    for proof, label in [
        (proofs.rate_of_the_sample(), "eq-store-rate"),
        (proofs.completed_square(), "eq-store-square"),
        (proofs.surprise_of_a_controlled_process(), "eq-store-surprise"),
        (proofs.bottleneck(), "eq-store-decoder"),
    ]:
        assert (proof.first, proof.last) == BY_LABEL[label].sides
