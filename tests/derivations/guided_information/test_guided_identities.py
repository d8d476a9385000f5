"""The identities of the chapter on guided information: they hold, and no slip in them does."""

from derivations.guided_information import proofs
from derivations.kit.identity import mutants, survivors

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in proofs.identities())
    assert [mutant.slip for identity in proofs.identities() for mutant in survivors(identity)] == []


def test_proofs_end_where_the_identities_do():
    for proof, label in [
        (proofs.information_under_the_flow(), "eq-joint-information"),
        (proofs.reverse_information(), "eq-joint-reverse-line"),
    ]:
        assert (proof.first, proof.last) == BY_LABEL[label].sides
