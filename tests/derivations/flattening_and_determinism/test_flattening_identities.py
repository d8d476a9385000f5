"""The identities of the chapter on flattening and determinism: they hold, and no slip in them does."""

from derivations.flattening_and_determinism import proofs
from derivations.kit.identity import mutants, survivors

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in proofs.identities())
    assert [mutant.slip for identity in proofs.identities() for mutant in survivors(identity)] == []


def test_the_proof_ends_where_the_identity_does():
    proof = proofs.rate_of_one_direction()
    assert (proof.first, proof.last) == BY_LABEL["eq-flattening-entropy-rate"].sides
