"""The displayed equations of the chapter on concentration: each holds, and no slip in one does."""

import pytest

from derivations.kit.identity import mutants, survivors
from derivations.posterior_concentration import proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


@pytest.mark.parametrize("label", sorted(BY_LABEL))
def test_every_identity_holds_and_no_slip_survives(label):
    assert BY_LABEL[label].holds()
    assert len(list(mutants(BY_LABEL[label]))) > 10
    assert [mutant.slip for mutant in survivors(BY_LABEL[label])] == []


def test_proofs_end_where_the_identities_do():
    for proof, label in (
        (proofs.norm_of_the_score(), "eq-concentration-norm"),
        (proofs.spread_of_equidistant_points(), "eq-concentration-spread"),
    ):
        assert (proof.first, proof.last) == BY_LABEL[label].sides
