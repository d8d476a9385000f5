"""The command line: what it writes and prints, and the one line and nothing else that bad input leaves."""

import inspect
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

import companion
from companion import cli
from companion.errors import InputError
from companion.estimate.result import Estimate, Profile
from companion.estimate.run import profile, profiles
from companion.figures import save_plot
from companion.models.checks import JUDGED
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from derivations.bring_your_own_model.tiny import save_tiny

SMALL = ["profile", "--samples", "8", "--levels", "4"]


def main(arguments):
    """The command, with the last of each option that tests say again: the command itself refuses a second."""
    kept = list(arguments)
    for option in ("--samples", "--levels", "--partition", "--seed", "--out", "--model", "--block", "--device"):
        while kept.count(option) > 1:
            first = kept.index(option)
            del kept[first : first + 2]
    return cli.main(kept)


def test_profile_writes_a_result_and_a_figure_and_says_the_cost_first(tmp_path, capsys):
    folder = tmp_path / "a new folder"
    assert main([*SMALL, "--partition", "3|8", "--seed", "5", "--out", str(folder)]) == 0
    output, errors = capsys.readouterr()
    found = Profile.load(folder / "profile.json")
    assert sorted(path.name for path in folder.iterdir()) == ["blocks", "profile.json", "profile.png", "run.json"]
    assert (folder / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert (found.seed, found.samples, len(found.log_snr), found.partition) == (5, 8, 4, "3|8")
    assert output.startswith(found.summary())
    assert errors.startswith(f"{found.evaluations} evaluations of digits, about ")


def test_a_command_that_says_nothing_else_asks_what_the_function_does():
    """The parser has numbers of its own, because it answers --help without loading torch."""
    wanted = inspect.signature(profile).parameters
    given = cli._parser().parse_args(["profile", "--partition", "3|8"])
    assert {name: getattr(given, name) for name in ("samples", "levels", "block", "seed", "tolerance")} == {
        name: wanted[name].default for name in ("samples", "levels", "block", "seed", "tolerance")
    }


def test_json_is_the_saved_result(tmp_path, capsys):
    assert main([*SMALL, "--samples", "16", "--partition", "0,6,8,9|1,4,7", "--json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    saved = Profile.load(tmp_path / "profile.json")
    for name in ("log_snr", "entropy", "entropy_se", "production"):
        np.testing.assert_array_equal(printed[name], getattr(saved, name))
    assert printed["half_entropy_log_snr"] == saved.half_entropy.value
    assert printed["evaluations"] == saved.evaluations


def test_several_partitions_come_from_one_run_as_from_python(tmp_path, capsys):
    """One folder with a result of each, a list of JSON, and the result that the function gives, seconds and all."""
    out = tmp_path / "out"
    asked = ["--partition", "3|8", "--partition", "4|others", "--samples", "40", "--block", "16"]
    assert cli.main(["profile", *asked, "--levels", "4", "--json", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    names = ["blocks", "profile-1.json", "profile-2.json", "profile.png", "run.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    saved = [Profile.load(out / name) for name in names[1:3]]
    assert [each["partition"] for each in printed] == [each.partition for each in saved] == ["3|8", "4|others"]
    again = profiles(load("digits"), ["3|8", "4|others"], out, samples=40, levels=4, block=16)
    assert [each.as_dict() for each in again] == [each.as_dict() for each in saved]
    in_memory = profiles(load("digits"), ["3|8", "4|others"], samples=40, levels=4, block=16)
    assert [{**each.as_dict(), "seconds": 0} for each in in_memory] == [
        {**each.as_dict(), "seconds": 0} for each in saved
    ]


def test_guided_paths_are_asked_for_as_in_python(tmp_path, capsys):
    asked = ["--partition", "3|8", "--guidance", "3", "--interval", "-2.5,0.5", "--samples", "16", "--levels", "8"]
    assert cli.main(["profile", *asked, "--out", str(tmp_path)]) == 0
    (output, errors), found = capsys.readouterr(), Profile.load(tmp_path / "profile.json")
    assert errors.startswith("about ")
    rule = companion.guided(load("digits"), 3.0, (-2.5, 0.5))
    same = profile(rule, "3|8", tmp_path, samples=16, levels=8)
    assert same.as_dict() == found.as_dict() and found.quantity == "cross entropy"
    assert output.startswith("3|8, guided by 3 at -2.5 to 0.5 in digits") and (tmp_path / "profile.png").is_file()
    assert cli.main(["profile", "--partition", "3|8", "--samples", "16", "--levels", "8", "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "guidance is None, expected {'weight': 3.0, 'interval': [-2.5, 0.5]}" in line


def test_a_model_without_a_null_class_is_not_guided(tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(Path(companion.__file__).parent / "models" / "weights" / "digits", folder)
    said = json.loads((folder / "companion.json").read_text()) if (folder / "companion.json").exists() else {}
    (folder / "companion.json").write_text(json.dumps(said | {"has_null": False, "classes": [*map(str, range(11))]}))
    asked = ["--model", str(folder), "--partition", "3|8", "--guidance", "2", "--out", str(tmp_path / "out")]
    assert main([*SMALL, *asked]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected one with an unconditional branch" in line and not (tmp_path / "out").exists()


def test_a_pipelines_classes_are_its_prompts(tmp_path, capsys):
    folder = save_tiny("stable diffusion", tmp_path / "model")
    prompts = ["--prompt", "a cab", "--prompt", "a bad"]
    arguments = [*SMALL, "--model", str(folder), *prompts, "--trust", "first level", "--trust", "last level"]
    assert main([*arguments, "--partition", "#1|#0", "--out", str(tmp_path / "out")]) == 0
    assert Profile.load(tmp_path / "out" / "profile.json").partition == "a bad|a cab"
    more = ["--partition", "a cab|null", "--dtype", "bfloat16"]
    assert main([*arguments, *more, "--out", str(tmp_path / "null")]) == 0
    capsys.readouterr()
    assert main([*SMALL, "--model", str(folder), "--partition", "#1|#0", "--out", str(tmp_path / "no")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("companion: error: prompts is ") and errors.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--partition", "3|12"], "partition is 3|12, expected classes among 0, 1, 2"),
        (["--partition", "3|"], "partition is 3|, expected at least one class on each side"),
        (["--partition", "3,8|8"], "sides that share no class"),
        (["--partition", "3"], "two sides"),
        (["--partition", "3|8", "--levels", "1"], "levels is 1, expected a whole number of at least 2"),
        (
            ["--partition", "3|8", "--levels", "1" + "0" * 15],
            "a whole number of at least 2 and at most 100000",
        ),
        (["--partition", "3|8", "--seed", "-1"], "seed is -1, expected a whole number"),
        (["--partition", "3|8", "--samples", "0"], "samples is 0, expected a whole number of at least 4"),
        (["--partition", "3|8", "--samples", "3"], "samples is 3, expected a whole number of at least 4"),
        (["--partition", "3|8", "--model", "nowhere"], "nowhere"),
        (["--partition", "3|8", "--prompt", "a cab"], "prompts is "),
        (["--partition", "3|8", "--guidance", "nan"], "weight is nan, expected a finite number"),
        (["--partition", "3|8", "--interval", "-2.5,0.5"], "--interval is -2.5,0.5, expected --guidance, a weight"),
        (["--partition", "3|8", "--guidance", "3", "--interval", "-.5,-2.5"], "interval is (-0.5, -2.5), expected two"),
        (["--partition", "3|8", "--guidance", "3", "--interval", "-12,0"], "in the model's range, -10.118 to 9.210"),
        (["--partition", "3|8", "--device", "cuda:99"], "device is cuda:99, expected a device"),
        (["--partition", "3|8", "--device", "moon"], "device is moon, expected a device"),
        (["--partition", "3|8", "--device", "meta"], "device is meta, expected a device"),
    ],
)
def test_bad_input_is_one_line_and_no_file(tmp_path, capsys, arguments, expected):
    folder = tmp_path / "result"
    assert main([*SMALL, "--out", str(folder), *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("companion: error: ") and errors.count("\n") == 1
    assert expected in errors
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        ([*SMALL], "--partition"),
        ([*SMALL, "--partition", "3|8", "--levels", "few"], "--levels: invalid int value: 'few'"),
        ([*SMALL, "--partition", "3|8", "--interval", "-2.5"], "-2.5 is no pair of log-snr, such as -2.5,0.5"),
        ([*SMALL, "--partition", "3|8", "--method", "best"], "'best' (choose from"),
        (["train", "digits", "--fast"], "--fast"),
    ],
)
def test_what_the_parser_refuses_is_one_line_too(capsys, arguments, expected):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert line.startswith("companion: error: ") and expected in line


@pytest.fixture
def interruptible():
    """A shell starts what it puts in the background deaf to Ctrl-C, and this suite with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_says_what_is_kept_and_the_same_command_goes_on(tmp_path, capsys, monkeypatch):
    """The numbers are those of a run without a break, and what was finished is not measured again."""
    asked = [*SMALL, "--partition", "3|8", "--samples", "16", "--block", "4"]
    assert main([*asked, "--out", str(tmp_path / "whole")]) == 0
    update = tqdm.update

    def interrupt(bar, count=1):
        update(bar, count)
        if bar.n > 17 * 2 * 4 + 5 * 2 * 6:  # the pilot, and a block and a half
            os.kill(os.getpid(), signal.SIGINT)

    out = ["--out", str(tmp_path / "broken")]
    with monkeypatch.context() as patch:
        patch.setattr("tqdm.std.tqdm.update", interrupt)  # a real Ctrl-C while a level is computed
        capsys.readouterr()
        assert main([*asked, *out]) == 130
    output, errors = capsys.readouterr()
    kept = f"2 finished blocks are kept in {tmp_path / 'broken'}, and the same command goes on"
    assert output == "" and errors.endswith(f"companion: stopped; {kept}\n")
    assert not (tmp_path / "broken" / "profile.json").exists()
    assert main([*asked, *out]) == 0
    assert capsys.readouterr().err.startswith("296 evaluations of digits (176 of them done), about ")
    assert without_seconds(tmp_path / "broken") == without_seconds(tmp_path / "whole")


def without_seconds(folder):
    """A result as the text it is, less the one number that no two runs share."""
    lines = (folder / "profile.json").read_text(encoding="utf-8").splitlines()
    (seconds,) = [line for line in lines if line.startswith(' "seconds": ')]
    return [line for line in lines if line != seconds]


def test_a_finished_folder_costs_no_evaluation(tmp_path, capsys, monkeypatch):
    asked = [*SMALL, "--partition", "3|8", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    first, _ = capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(TrainedDenoiser, "__call__", None)  # so that a single evaluation would be an error
    assert main(asked) == 0
    assert capsys.readouterr() == (first, "")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_of_another_run_is_refused_before_anything_is_evaluated(tmp_path, capsys, monkeypatch):
    out = ["--out", str(tmp_path / "out")]
    asked = [*SMALL, "--partition", "3|8", "--samples", "16", *out]
    assert main(asked) == 0
    capsys.readouterr()
    monkeypatch.setattr(TrainedDenoiser, "__call__", None)
    for changed, expected in [
        (["--partition", "3|9"], "partitions[0].label is 3|9, expected 3|8"),
        (["--seed", "1"], "seed is 1, expected 0"),
        (["--levels", "5"], "levels is 5, expected 4"),
        (["--samples", "64"], "samples of the pilot is 8, expected 4"),
        (["--method", "published"], "method.name is published, expected default"),
    ]:
        assert main([*asked, *changed]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"companion: error: {expected}, as in the run that {tmp_path / 'out'} holds; name another folder"


SHORT_OF_MEMORY = """
import re, resource, sys
from pathlib import Path
from companion.cli import main
from companion.models.load import load
load("digits")  # what the command imports has to be there before
used = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_out_of_memory_names_the_block_to_use(tmp_path):
    """A process whose address space is closed a little above what it has; a process of its own, because what other
    tests have freed would do for the block."""
    asked = ["profile", "--partition", "3|8", "--samples", "4000", "--levels", "4", "--method", "published"]
    asked += ["--block", "4000"]
    ran = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *asked, "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = "block is 4000, expected 2000 or fewer: out of memory; finished blocks are kept"
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1] == f"companion: error: {expected}"


def test_a_folder_that_cannot_be_made_is_refused_before_the_run(tmp_path, capsys):
    assert main([*SMALL, "--partition", "3|8", "--out", str(tmp_path / ("long" * 100))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("companion: error: out is ")


def test_another_prediction_type_stops_a_run_unless_it_is_trusted(tmp_path, capsys):
    # The weights predict v; as "sample" they gave 3|8 at -1.11 for -0.86.
    folder, out = tmp_path / "model", tmp_path / "result"
    shutil.copytree(Path(companion.__file__).parent / "models" / "weights" / "digits", folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text(encoding="utf-8").replace("v_prediction", "sample"), encoding="utf-8")
    asked = [*SMALL, "--model", str(folder), "--partition", "3|8", "--out", str(out)]
    assert main(asked) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("companion: error: last level is ") and errors.count("\n") == 1
    assert "prediction_type" in errors
    assert 'trust "last level" to go on without' in errors
    assert not out.exists()
    assert main([*asked, "--trust", "last level"]) == 0


def test_what_may_be_trusted_is_what_a_person_judges():
    (trust,) = [
        action
        for group in cli._parser()._subparsers._group_actions
        for action in group.choices["profile"]._actions
        if action.dest == "trust"
    ]
    assert tuple(trust.choices) == JUDGED


@pytest.mark.parametrize("asked", ["0|null", "0,1,2|null"])
def test_a_class_taken_for_the_null_stops_a_run_whatever_is_asked(tmp_path, capsys, asked):
    # Ten embeddings and no null among them: the last class is taken for it.
    folder = tmp_path / "model"
    shutil.copytree(Path(companion.__file__).parent / "models" / "weights" / "digits", folder)
    (folder / "companion.json").unlink()
    network = diffusers.UNet2DModel.from_pretrained(folder / "unet", use_safetensors=True)
    rows = network.class_embedding.weight[:10].clone()
    network.class_embedding = torch.nn.Embedding.from_pretrained(rows)
    network.register_to_config(num_class_embeds=10)
    network.save_pretrained(folder / "unet")
    assert main([*SMALL, "--model", str(folder), "--partition", asked, "--out", str(tmp_path / "result")]) == 2
    assert capsys.readouterr().err.startswith("companion: error: null is ")


def test_class_names_with_a_dollar_are_no_formula(tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(Path(companion.__file__).parent / "models" / "weights" / "digits", folder)
    names = ["$a", "b_$", *"23456789"]
    (folder / "companion.json").write_text(json.dumps({"classes": names}), encoding="utf-8")
    out = tmp_path / "result"
    assert main([*SMALL, "--model", str(folder), "--partition", "$a|b_$", "--out", str(out)]) == 0
    assert Profile.load(out / "profile.json").partition == "$a|b_$"


def _without_null(folder):
    """The null class becomes a class of its own."""
    names = [*"0123456789", "any"]
    (folder / "companion.json").write_text(json.dumps({"classes": names, "has_null": False}), encoding="utf-8")


def _cut_short(folder):
    weights = _weights(folder)
    weights.write_bytes(weights.read_bytes()[:1000])


def _deaf_to_labels(folder):
    tensors = load_file(_weights(folder))
    save_file({**tensors, "class_embedding.weight": 0.0 * tensors["class_embedding.weight"]}, _weights(folder))


def _sick(folder):
    tensors = load_file(_weights(folder))
    save_file({**tensors, "conv_out.bias": tensors["conv_out.bias"] * float("nan")}, _weights(folder))


def _pickled(folder):
    torch.save(load_file(_weights(folder)), folder / "unet" / "diffusion_pytorch_model.bin")
    _weights(folder).unlink()


def _weights(folder):
    return folder / "unet" / "diffusion_pytorch_model.safetensors"


def _described(**facts):
    def describe(folder):
        (folder / "companion.json").write_text(json.dumps(facts), encoding="utf-8")

    return describe


def _configured(**options):
    def configure(folder):
        path = folder / "unet" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **options}), encoding="utf-8")

    return configure


@pytest.mark.parametrize(
    ("spoil", "asked", "expected"),
    [
        (_described(classes=10), "3|8", "classes in companion.json is 10, expected a value of type list"),
        (_described(weights=["a"] * 10), "3|8", "10 positive probabilities that sum to one"),
        (_described(weights=[float("nan")] * 10), "3|8", "a readable JSON file (NaN is no number)"),
        (_described(has_null="no"), "3|8", "has_null in companion.json is no, expected a value of type bool"),
        (_configured(sample_size=7), "3|8", "sample_size is 7, expected a height and a width that are multiples of 2"),
        (_configured(sample_size=[8]), "3|8", "sample_size is [8], expected the height and width"),
        (_configured(sample_size="8"), "3|8", "sample_size is 8, expected the height and width"),
        (_without_null, "3|null", "a model with a null class"),
        (_deaf_to_labels, "3|8", "labels is 0, expected labels that move D: 3 and 8 do not"),
        (_sick, "3|8", "is NaN or infinite, expected finite weights"),
        (_cut_short, "3|8", "safetensors"),
        (_pickled, "3|8", "safetensors"),
    ],
)
def test_a_spoilt_model_is_one_line_and_no_file(tmp_path, capsys, spoil, asked, expected):
    folder, out = tmp_path / "model", tmp_path / "result"
    shutil.copytree(Path(companion.__file__).parent / "models" / "weights" / "digits", folder)
    spoil(folder)
    assert main([*SMALL, "--model", str(folder), "--partition", asked, "--out", str(out)]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("companion: error: ") and errors.count("\n") == 1
    assert expected in errors
    assert not out.exists()


def test_an_output_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "result").write_text("mine", encoding="utf-8")
    for out in ("result", "result/inside"):
        assert main([*SMALL, "--partition", "3|8", "--out", str(tmp_path / out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()  # before any cost is named: nothing has run
        assert line.startswith("companion: error: out is ")
    assert (tmp_path / "result").read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_help_is_enough(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["profile", "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    for word in ("3|8", "0,6,8,9|1,4,7", "3|all", "--samples", "--levels", "--seed", "--json", "profile.json"):
        assert word in shown


def test_the_installed_command_is_this_one():
    """A process of its own: one line, status 2, no traceback."""
    command = [sys.executable, "-m", "companion", *SMALL, "--partition", "cat|dog", "--out", "never-made"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        "companion: error: partition is cat|dog, expected classes among 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
    )
    assert ended.stdout == ""


ASKED = ["profile", "--samples", "8", "--levels", "4", "--partition", "3|8", "--out"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, copied by whoever changes it."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert cli.main([*ASKED, str(folder)]) == 0
    return folder


@pytest.mark.parametrize("option", ["--out", "--model", "--seed", "--dtype"])
def test_an_option_is_said_once(capsys, option):
    value = {"--seed": "1", "--dtype": "float32"}.get(option, "3|9")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["profile", "--partition", "3|8", option, value, option, value])
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert line.startswith(f"companion: error: argument {option}: given twice, expected once")


@pytest.mark.parametrize("asked", [["--partition", "-1|3"], ["--partition=-1|3"]])
def test_a_partition_with_a_minus_is_no_option(capsys, asked):
    assert cli.main(["profile", *asked]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("companion: error: partition is -1|3, expected classes among 0, 1, 2")


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("no\nthing"), ImportError("y"), AttributeError(), Warning()]
)
def test_whatever_a_library_raises_is_one_line_with_its_kind(capsys, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("companion.models.load.load", fail)
    assert cli.main(["profile", "--partition", "3|8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"companion: error: {type(error).__name__}") and "(test_cli.py, line " in line


def test_no_list_of_arguments_ends_in_a_traceback(tmp_path, capsys, monkeypatch):
    """Words put together at random; what would be measured is stopped at the plan. 300 lists."""

    def stop(*_, **__):
        raise InputError("plan", "reached", "nothing more")

    monkeypatch.setattr("companion.estimate.run.Run", stop)
    monkeypatch.chdir(tmp_path)
    options = [
        *("--model", "--prompt", "--device", "--dtype", "--partition", "--samples", "--tolerance", "--levels"),
        *("--block", "--seed", "--prior", "--method", "--out", "--json", "--=x", "--", "-", "=", "--seed=x"),
    ]
    values = "profile train digits 3|8 -1|3 | #0|#1 3|null 3|all a|b 3|3 -5 0 1e9 nan inf cpu cuda meta cpu:-1"
    more = "privateuseone hpu xla mps:7 vulkan float32 balanced published . /dev/null nowhere ünï"
    words = [*options, *options, *values.split(), *more.split()]
    words += ["", " ", "\n", "\udcff", "x" * 5000]
    draw = random.Random(0)
    for _ in range(300):
        arguments = ["profile", "--partition", "3|8"] if draw.random() < 0.7 else []
        arguments += draw.choices(words, k=draw.randint(1, 4))
        try:
            status = cli.main(arguments)
        except SystemExit as stopped:
            status = stopped.code
        output, errors = capsys.readouterr()
        assert status == 2 and output == "", arguments
        assert errors.startswith("companion: error: ") and errors.count("\n") == 1, (arguments, errors)
        assert "(" not in errors or ".py, line" not in errors, (arguments, errors)


@pytest.mark.parametrize("device", ["privateuseone", "hpu", "cpu:-1", "", "moon:0"])
def test_a_device_that_is_none(capsys, device):
    assert cli.main(["profile", "--partition", "3|8", "--device", device]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("companion: error: device is ") and "expected a device of this torch" in line


def test_a_picture_that_cannot_be_drawn_is_one_line_after_the_result(tmp_path, finished, capsys, monkeypatch):
    """As on a disk that is full by then; the next call draws it, without an evaluation."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "profile.png").unlink()
    monkeypatch.setattr(TrainedDenoiser, "__call__", None)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", full)
        assert cli.main([*ASKED, str(out)]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith(Profile.load(out / "profile.json").summary())
    said = f"[Errno 28] No space left on device: '{out / 'profile.png'}'"
    assert errors == f"companion: profile.png was not drawn: {said}\n"
    assert sorted(path.name for path in out.iterdir()) == ["blocks", "profile.json", "run.json"]
    assert cli.main([*ASKED, str(out)]) == 0
    assert (out / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_does_not_depend_on_settings(tmp_path, finished):
    """A matplotlibrc that asks for LaTeX, a backend that is none, and a terminal of ASCII, in a process of its own."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "profile.png").unlink()
    (tmp_path / "matplotlibrc").write_text("text.usetex: true\nfigure.figsize: 100, 100\n", encoding="utf-8")
    surroundings = {**os.environ, "MPLBACKEND": "nonsense", "PYTHONIOENCODING": "ascii", "RANK": "1", "WORLD_SIZE": "2"}
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "companion", *ASKED, str(out)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**surroundings, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\xb1" in ended.stdout  # the sign of plus or minus
    assert (out / "profile.png").read_bytes() == (finished / "profile.png").read_bytes()


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_reader_that_has_gone_does_not_fail_a_run(finished, monkeypatch, as_json):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as nobody, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", nobody)
        assert cli.main([*ASKED, str(finished), *as_json]) == 0


def test_closed_streams_do_not_fail_a_run(finished, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", None)
        patch.setattr("sys.stderr", None)
        assert cli.main([*ASKED, str(finished)]) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a file system without /dev/full")
def test_a_result_that_could_not_be_printed_is_no_success(finished, capsys, monkeypatch):
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        assert cli.main([*ASKED, str(finished), "--json"]) == 2
    assert capsys.readouterr().err == "companion: error: [Errno 28] No space left on device: 'standard output'\n"


@pytest.mark.parametrize("name", ["profile.json", "profile.png"])
def test_a_file_of_somebody_else_is_not_written_over(tmp_path, capsys, monkeypatch, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    monkeypatch.setattr(TrainedDenoiser, "__call__", None)
    assert cli.main([*ASKED, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / name) in line and line.endswith("move it, or name another folder")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_result_of_another_run_in_the_folder_is_not_written_over(tmp_path, finished, capsys):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    result = json.loads((out / "profile.json").read_text(encoding="utf-8"))
    (out / "profile.json").write_text(json.dumps({**result, "seed": 7}), encoding="utf-8")
    assert cli.main([*ASKED, str(out)]) == 2
    assert capsys.readouterr().err.startswith(
        f"companion: error: result is {out / 'profile.json'}, expected no file of"
    )


@pytest.mark.parametrize(
    "said",
    [
        {"RANK": "1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""},
        {"RANK": "one", "WORLD_SIZE": "two", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"RANK": "3", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"RANK": "-1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
    ],
)
def test_what_a_launcher_left_behind_changes_nothing(tmp_path, finished, capsys, monkeypatch, said):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "profile.json").unlink()
    assert cli.main([*ASKED, str(out)]) == 0
    assert capsys.readouterr().out.startswith(Profile.load(out / "profile.json").summary())


def test_accelerate_that_started_one_of_two_is_said(capsys, monkeypatch):
    """What `accelerate launch --cpu --num_processes 2` sets."""
    for name, value in {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["profile", "--partition", "3|8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--multi_gpu" in line


def test_names_that_a_font_lacks_and_long_prompts_stay_in_their_panel(finished, tmp_path, monkeypatch):
    """Titles are drawn within the figure and none over another; warnings are errors in this suite."""
    result = Profile.load(finished / "profile.json")
    drawn = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda fig, _: (fig.draw_without_rendering(), drawn.append(fig))
    )
    monkeypatch.setattr("os.replace", lambda *_: None)
    prompt = "a photograph of an astronaut riding a horse on the moon, in the style of a woodcut, very detailed"
    for name in ("你好|さようなら", f"{prompt}|{prompt}", "$a|b_$\\", "_a|^b\n{", "x" * 300 + "|" + "y" * 300, "|||||"):
        save_plot(
            tmp_path / "p.png", replace(result, partition=name, half_entropy=Estimate(-1.0, None, None), floor=0.1)
        )
        fig = drawn.pop()
        left, right = (axes.title if axes.title.get_text() else axes._left_title for axes in fig.axes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the font's gaps again: what is checked above is that drawing says nothing
            one, other = left.get_window_extent(), right.get_window_extent()
        assert one.x1 < other.x0 and one.x0 >= 0 and other.x1 <= fig.bbox.x1 and one.y1 <= fig.bbox.y1, name


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    pair, folder = companion.isotropic_mixture([[-1.0], [1.0]], 0.0), tmp_path_factory.mktemp("guide")
    found = profile(pair, companion.partition(pair, "0|1"), log_snr=np.linspace(-6.0, 4.0, 21), samples=40)
    found.save(folder / "profile-1.json")
    replace(found, partition="another").save(folder / "profile-2.json")
    replace(found, production=np.zeros(21)).save(folder / "flat.json")
    return folder, found


def test_guide_says_the_interval_of_a_profile_in_all_units(saved, capsys):
    folder, found = saved
    assert cli.main(["guide", str(folder / "profile-1.json"), "--share", "0.6", "--steps", "20", "--json"]) == 0
    said, interval = json.loads(capsys.readouterr().out), found.interval(0.6)
    assert said["log_snr"] == [interval.first, interval.last]
    np.testing.assert_allclose(said["sigma"], np.exp(-0.5 * np.array(said["log_snr"])))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(20)
    inside, row = interval.steps(scheduler).nonzero()[0] + 1, said["schedulers"]["Stable Diffusion 3, Euler"]
    assert (row["inside"], row["calls"]) == ([inside[0], inside[-1]], 20)
    assert tuple(row["fractions"]) == interval.fractions(scheduler)
    assert row["timesteps"] == interval.timesteps(scheduler)
    heun = said["schedulers"]["Stable Diffusion, Heun"]
    assert (heun["calls"], heun["fractions"]) == (39, None)  # no fraction of steps is right there
    assert cli.main(["guide", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("0|1: the central 80% of the production") and "another: the central 80%" in printed
    assert max(map(len, printed.splitlines())) <= 90


def test_guide_leaves_out_a_schedule_that_the_interval_does_not_meet(saved, tmp_path, capsys):
    replace(saved[1], log_snr=saved[1].log_snr + 20.0).save(tmp_path / "profile.json")
    assert cli.main(["guide", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schedulers"] == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such-file"], "path is no-such-file, expected a file written by save"),
        ([".."], "path is .., expected a file written by save"),
        (["profile-1.json", "--share", "1.5"], "share is 1.5, expected a share between 0 and 1"),
        (["profile-1.json", "--share", "nan"], "share is nan"),
        (["profile-1.json", "--steps", "0"], "steps is 0, expected a whole number of at least 1"),
        (["flat.json"], "production is .* not all zero"),
    ],
)
def test_a_bad_question_to_guide_is_one_line(saved, capsys, monkeypatch, arguments, expected):
    monkeypatch.chdir(saved[0])
    assert cli.main(["guide", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert re.search(expected, errors)
