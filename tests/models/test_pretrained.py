"""A network as it comes from its folder."""

import pytest
import torch

from companion.models.load import load
from derivations.bring_your_own_model.tiny import save_tiny


@pytest.mark.parametrize(("kind", "prompts"), [("dit", ()), ("stable diffusion", ("a cat", "a dog"))])
def test_networks_come_in_eval_mode_with_their_weights_frozen(tmp_path, kind, prompts):
    model = load(save_tiny(kind, tmp_path), prompts)
    for network in model.networks:
        assert not any(part.training for part in network.modules())
        assert not any(weights.requires_grad for weights in network.parameters())
    state = torch.zeros(2, *model.shape)
    assert not model(state, torch.ones(2), torch.tensor([0, 1])).requires_grad
