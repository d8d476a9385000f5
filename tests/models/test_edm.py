"""Networks with the interface of EDM and EDM2, written here: one-hot labels, a separate unconditional one, pickles."""

import pickle
import sys
import textwrap

import numpy as np
import pytest
import torch

from companion.errors import InputError
from companion.models.edm import edm_denoiser, load

CODE = """
import torch

class Precond(torch.nn.Module):
    '''The interface of EDM2's network: preconditioning around F, one-hot labels, gains that start at zero.'''

    def __init__(self, label_dim, gain=1.0, img_channels=2, img_resolution=4, sigma_data=0.5, seed=0):
        super().__init__()
        self.img_channels, self.img_resolution, self.label_dim = img_channels, img_resolution, label_dim
        self.sigma_data, self.use_fp16, self.forced = sigma_data, True, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mix = torch.nn.Conv2d(img_channels, img_channels, 3, padding=1)
            self.emb_label = torch.nn.Linear(label_dim, img_channels) if label_dim else None
        self.drop = torch.nn.Dropout(0.5)
        self.out_gain = torch.nn.Parameter(torch.tensor(gain))

    def body(self, state, noise, labels):
        found = self.mix(state) + noise.reshape(-1, 1, 1, 1)
        if labels is not None:
            found = found + self.emb_label(labels)[:, :, None, None]
        return self.out_gain * self.drop(found).sin()

    def forward(self, x, sigma, class_labels=None, force_fp32=False):
        self.forced.append(force_fp32)
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1)
        if self.label_dim == 0:
            labels = None
        elif class_labels is None:
            labels = torch.zeros(1, self.label_dim)
        else:
            labels = class_labels.to(torch.float32).reshape(-1, self.label_dim)
        spread = (sigma ** 2 + self.sigma_data ** 2).sqrt()
        output = self.body(x.to(torch.float32) / spread, sigma.flatten().log() / 4, labels)
        return (self.sigma_data / spread) ** 2 * x + sigma * self.sigma_data / spread * output
"""
MODULE: dict = {}
exec(CODE, MODULE)
Precond = MODULE["Precond"]
LEVELS = (0.01, 0.2, 1.0, 8.0, 70.0)
CLOSE = 2.0**-24 * 200.0  # float32, as the network does: some dozen operations on numbers up to five


def batch(sigma, count=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 2, 4, 4, generator=generator) * (1.0 + sigma)
    return x, torch.full((count,), sigma), torch.arange(count) % 3


@pytest.fixture
def model():
    return edm_denoiser(Precond(3), unconditional=Precond(0, seed=1))


def test_posterior_mean_is_edms_preconditioning_of_the_body(model):
    for sigma in LEVELS:
        x, level, condition = batch(sigma)
        for asked, network in ((condition, model.network), (None, model.unconditional)):
            labels = None if asked is None else torch.eye(3)[condition]
            with torch.no_grad():
                output = network.body(x / (sigma**2 + 0.25) ** 0.5, torch.full((3,), np.log(sigma) / 4), labels)
            x0 = 0.25 / (sigma**2 + 0.25) * x + 0.5 * sigma / (sigma**2 + 0.25) ** 0.5 * output
            assert (model(x, level, asked) - x0).abs().max() < CLOSE


def test_labels_move_the_output_and_samples_do_not_know_each_other(model):
    # Three samples of three classes: an int vector of this length would be taken for one row of labels.
    for sigma in LEVELS:
        x, level, condition = batch(sigma)
        together = model(x, level, condition)
        for row in range(3):
            alone = model(x[row : row + 1], level[:1], condition[row : row + 1])
            assert (together[row] - alone[0]).abs().max() < CLOSE
    x, level, _ = batch(1.0)
    answers = [model(x, level, torch.full((3,), label)) for label in range(3)] + [model(x, level, None)]
    for one in range(4):
        for other in range(one):
            assert (answers[one] - answers[other]).abs().max() > 1e-2


def test_the_null_is_the_other_network_and_not_a_row_of_zeros(model):
    x, level, _ = batch(1.0)
    with torch.no_grad():
        assert torch.equal(model(x, level, None), model.unconditional(x, level))
        assert (model(x, level, None) - model.network(x, level, None)).abs().max() > 1e-2
    alone = edm_denoiser(Precond(3))
    assert not alone.has_null
    with pytest.raises(InputError, match="EDM has no null class"):
        alone(x, level, None)


def test_half_precision_is_up_to_the_reader():
    for force in (False, True):
        model = edm_denoiser(Precond(3), force_fp32=force)
        model(*batch(1.0))
        assert model.network.forced == [force]
    assert edm_denoiser(Precond(3)).digest != edm_denoiser(Precond(3), force_fp32=True).digest


def test_eval_mode_is_set_and_train_mode_refused(model):
    x, level, condition = batch(1.0)
    assert torch.equal(model(x, level, condition), model(x, level, condition))  # it has dropout
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    model.network.train()
    with pytest.raises(InputError, match=r"call network\.eval"):
        model(x, level, condition)


def test_no_number_is_looked_at_on_an_accelerator(model):
    # Tensors without numbers: whatever would make a program wait for its GPU raises here.
    model.network.to("meta")
    model.unconditional.to("meta")
    x, level, condition = (each.to("meta") for each in batch(1.0))
    assert model(x, level, condition).shape == model(x, level, None).shape == x.shape


def test_the_digest_follows_both_networks():
    digests = [
        edm_denoiser(Precond(3, seed=seed), unconditional).digest
        for seed, unconditional in ((0, None), (1, None), (0, Precond(0, seed=1)), (0, Precond(0, seed=2)))
    ]
    assert len(set(digests)) == 4
    assert edm_denoiser(Precond(3), name="other").digest == digests[0]


def test_the_range_of_noise_is_the_networks_own_where_it_has_one():
    network = Precond(3)
    assert edm_denoiser(network).log_snr_range == pytest.approx((-2 * np.log(80.0), -2 * np.log(0.002)))
    network.sigma_min, network.sigma_max = 0.01, float("inf")
    model = edm_denoiser(network, sigma_range=(0.002, 50.0))
    assert model.log_snr_range == pytest.approx((-2 * np.log(50.0), -2 * np.log(0.01)))
    with pytest.raises(InputError, match="log-snr is"):
        model(*batch(0.005))
    with pytest.raises(InputError, match="classes from 0 to 2"):
        model(*batch(1.0)[:2], torch.tensor([0, 1, 3]))


REFUSED = {
    "no labels": (lambda: edm_denoiser(Precond(0)), "label_dim 0, expected a conditional"),
    "a null with labels": (lambda: edm_denoiser(Precond(3), Precond(3)), "trained without labels"),
    "a null of another size": (lambda: edm_denoiser(Precond(3), Precond(0, img_channels=1)), "a network for"),
    "no gain": (lambda: edm_denoiser(Precond(3, gain=0.0)), "out_gain is 0.0, expected a trained network"),
    "names": (lambda: edm_denoiser(Precond(3), classes=("a", "b")), "3 names, one for each label"),
    "weights": (lambda: edm_denoiser(Precond(3), weights=(0.5, 0.5)), "3 positive probabilities"),
    "no noise": (lambda: edm_denoiser(Precond(3), sigma_range=(0.0, 80.0)), "0 < least < most"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_does_not_fit_is_refused(how):
    make, said = REFUSED[how]
    with pytest.raises(InputError, match=said):
        make()


@pytest.fixture
def checkpoints(tmp_path):
    """Two pickles, as EDM2's are, of networks whose class lives in a module that is not on the path."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "their_networks.py").write_text(textwrap.dedent(CODE))
    sys.path.insert(0, str(code))
    try:
        import their_networks

        for name, network in {"net": their_networks.Precond(3), "uncond": their_networks.Precond(0)}.items():
            with (tmp_path / f"{name}.pkl").open("wb") as stream:
                pickle.dump({"ema": network.train()}, stream)
    finally:
        sys.path.remove(str(code))
        del sys.modules["their_networks"]
    yield tmp_path
    sys.modules.pop("their_networks", None)


def test_a_checkpoint_is_read_when_its_reader_asks_for_it(checkpoints):
    before = list(sys.path)
    model = load(checkpoints / "net.pkl", checkpoints / "uncond.pkl", checkpoints / "code", allow_pickle=True)
    assert sys.path == before
    assert (model.name, model.shape, model.classes, model.has_null) == ("net", (2, 4, 4), ("0", "1", "2"), True)
    x, level, condition = batch(1.0)
    assert torch.equal(model(x, level, condition), edm_denoiser(Precond(3))(x, level, condition))


def test_without_its_code_a_checkpoint_says_what_is_missing(checkpoints):
    with pytest.raises(InputError, match=r"its own code in the folder `code` \(No module named 'their_networks'"):
        load(checkpoints / "net.pkl", allow_pickle=True)
    with pytest.raises(InputError, match="the folder of the code"):
        load(checkpoints / "net.pkl", code=checkpoints / "nowhere", allow_pickle=True)


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_no_pickle_is_opened_unasked(tmp_path):
    with (tmp_path / "net.pkl").open("wb") as stream:
        pickle.dump({"ema": Trap(tmp_path / "it ran")}, stream)
    with pytest.raises(InputError, match="allow_pickle=True"):
        load(tmp_path / "net.pkl")
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("content", [b"", b"cut", pickle.dumps({"ema": 1}), pickle.dumps([1])])
def test_a_file_without_a_network_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "net.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"net\.pkl, expected") as refused:
        load(tmp_path / "net.pkl", allow_pickle=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="expected a file"):
        load(tmp_path / "another.pkl", allow_pickle=True)
