"""The identities of the chapter on neural entropy: they hold, and no slip in them does."""

from derivations.kit.identity import mutants, survivors
from derivations.neural_entropy import proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in proofs.identities())
    assert [mutant.slip for identity in proofs.identities() for mutant in survivors(identity)] == []


def test_proofs_end_where_the_identities_do():
    for proof, label in [(proofs.what_is_saved(), "eq-neural-saved"), (proofs.of_a_gaussian(), "eq-neural-gaussian")]:
        assert (proof.first, proof.last) == BY_LABEL[label].sides
