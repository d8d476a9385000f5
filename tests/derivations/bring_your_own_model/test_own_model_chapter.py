"""The cells of "Bring your own model", with the one line changed: every way of opening a model, and the ten lines."""

import json
import pickle
import re
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from companion.errors import InputError
from companion.models.load import load
from derivations.bring_your_own_model.tiny import save_tiny
from tools import book

(PAGE,) = (page for page in book.chapters() if page.source.stem == "bring_your_own_model")
CELLS = [cell.source for cell in book.read_cells(PAGE).cells if cell.cell_type == "code"]
LINE = 'MODEL, ALLOW_PICKLE = "tiny", False'


def cell_with(text):
    (found,) = (cell for cell in CELLS if text in cell)
    return found


def opened(line):
    """The names that the chapter has after the cell that opens its model."""
    names = {"__name__": "__main__"}
    exec(cell_with("scratch = "), names)
    exec(cell_with(LINE).replace(LINE, line), names)
    exec(cell_with("def opened("), names)
    return names


def test_one_line_chooses_the_model_and_every_published_name_has_its_question():
    assert CELLS.count(LINE) == 1
    listed = set(re.findall(r'^\| `"([^"]+)", (?:True|False)` \|', PAGE.source.read_text("utf-8"), flags=re.M))
    names = opened(LINE)
    assert listed == {"tiny", "/content/my-model", *names["ASKED"]}
    assert names["model"].shape == (4, 8, 8)
    assert names["asked"].label == "0|1"


@pytest.mark.parametrize(("kind", "classes"), [("unet", 3), ("dit", 3)])
def test_a_folder_is_opened_as_it_is(tmp_path, kind, classes):
    names = opened(f'MODEL, ALLOW_PICKLE = "{save_tiny(kind, tmp_path / "mine")}", False')
    assert names["model"].name == "mine"
    assert len(names["model"].classes) == classes


def test_pickles_of_a_folder_are_read_as_tensors_when_the_line_says_true(tmp_path):
    """As DiT was published: weights in .bin files, and the class under its old name."""
    folder = save_tiny("dit", tmp_path / "mine")
    for part in ("transformer", "vae"):
        path = folder / part / "diffusion_pytorch_model.safetensors"
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()
    config = json.loads((folder / "transformer" / "config.json").read_text())
    config |= {"_class_name": "Transformer2DModel", "norm_type": "ada_norm_zero"}
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="a pickle can run code"):
        opened(f'MODEL, ALLOW_PICKLE = "{folder}", False')
    assert opened(f'MODEL, ALLOW_PICKLE = "{folder}", True')["model"].has_null


def test_a_checkpoint_is_opened_only_when_the_line_says_true(tmp_path, monkeypatch):
    """A pickle whose class lives in the folder of its code, as EDM2's does; both are there, so nothing is fetched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edm2").mkdir()
    (tmp_path / "edm2" / "their_network.py").write_text(
        textwrap.dedent("""
        import torch

        class Precond(torch.nn.Module):
            img_channels, img_resolution, label_dim = 4, 8, 3

            def __init__(self):
                super().__init__()
                self.rows = torch.nn.Linear(3, 4)

            def forward(self, x, sigma, labels=None):
                return x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2) + self.rows(labels)[:, :, None, None]
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path / "edm2"))
    import their_network

    torch.manual_seed(0)
    with open("net.pkl", "wb") as stream:
        pickle.dump({"ema": their_network.Precond()}, stream)
    with pytest.raises(InputError, match="allow_pickle=True"):
        opened('MODEL, ALLOW_PICKLE = "net.pkl", False')
    monkeypatch.delitem(sys.modules, "their_network")
    sys.path.remove(str(tmp_path / "edm2"))
    names = opened('MODEL, ALLOW_PICKLE = "net.pkl", True')
    assert names["model"].classes == ("0", "1", "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edm2", "net.pkl"]


def test_prompts_go_with_the_line(tmp_path):
    """Prompts belong to the published name; a folder of such a pipeline asks for them, in one line."""
    with pytest.raises(InputError, match="prompts"):
        opened(f'MODEL, ALLOW_PICKLE = "{save_tiny("stable diffusion", tmp_path / "mine")}", False')


def test_the_ten_lines_are_the_adapter():
    """To 1e-5 of the size of D: the chapter interpolates the timestep in float32's clock, the adapter in its own."""
    names = {"__name__": "__main__"}
    exec(cell_with("scratch = "), names)
    exec(cell_with("def mean_of_clean_data").split("\nasked = ")[0], names)
    mine, adapter = names["mine"], load("digits")
    noise = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.exp(torch.tensor([5.0, 2.0, 0.0, -2.0, -4.0]) * 0.9)
    x = sigma.reshape(-1, 1, 1, 1) * noise
    with torch.no_grad():
        for label in (0, 3, 9):
            condition = torch.full((5,), label)
            gap = (mine(x, sigma, condition) - adapter(x, sigma, condition)).abs().max()
            assert float(gap) < 1e-5 * float(adapter(x, sigma, condition).abs().max())


def test_the_costs_in_the_chapter_are_the_rate_divided_by_the_operations():
    """By hand, for Stable Diffusion on a T4: 300 paths, 2 classes, 129 levels, and the pilot's 37 paths on 17."""
    names = opened(LINE)
    exec(cell_with("def on_card(").split('\nprint("')[0], names)
    row, t4 = names["cost"]["models"][1], names["cost"]["cards"][0]
    rate, minutes, memory, paths = names["on_card"](row, t4)
    evaluations = 300 * 2 * 129 + 37 * 2 * 17
    assert rate == pytest.approx(2 * 16 / 2.34)
    assert minutes == pytest.approx(evaluations / rate / 60)
    assert 1.72 + 0.58 < memory < 6.0
    assert paths == int(300 * 30 / minutes)
    assert np.isfinite(memory)
