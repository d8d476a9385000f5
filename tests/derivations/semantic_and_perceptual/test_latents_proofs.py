"""The identities of the chapter on semantic and perceptual latents: they hold, and no slip in them does."""

from derivations.kit.identity import mutants, survivors
from derivations.semantic_and_perceptual import proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in BY_LABEL.values())
    assert [mutant.slip for identity in BY_LABEL.values() for mutant in survivors(identity)] == []


def test_the_proof_ends_where_the_identity_does():
    proof = proofs.water_level()
    assert (proof.first, proof.last) == BY_LABEL["eq-latents-water"].sides
