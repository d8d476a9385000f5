"""A run in a folder: whatever stops it, it goes on to the same bits; what is of another run or damaged is refused."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.cli import main
from companion.denoiser import FunctionDenoiser
from companion.entropy import partition
from companion.errors import InputError
from companion.estimate.blocks import Folder, result_paths
from companion.estimate.cost import expected_cost, states_in_memory
from companion.estimate.plan import DEFAULT, PUBLISHED, Data
from companion.estimate.run import Run, profile, profiles
from companion.exact.mixtures import isotropic_mixture
from companion.files import locked
from companion.models.load import load

THREE = isotropic_mixture([[-2.0, 0.0], [0.0, 1.0], [2.0, 0.0]], 1.0)
ASKED = [partition(THREE, [0], [2]), partition(THREE, [0], "others")]
OPTIONS = {"samples": 50, "seed": 3, "levels": 6, "block": 8}
PILOT = "1-8-00000000-00000006.npz"
WHOLE = profiles(THREE, ASKED, **OPTIONS)


class Stopped(Exception):
    pass


def stop_after(evaluations):
    """A progress that ends the run when so many evaluations are done, in the middle of whatever block."""
    done = 0

    def progress(count):
        nonlocal done
        done += count
        if done > evaluations:
            raise Stopped

    return progress


def same(found, expected):
    """Bit for bit, but for the seconds and the texts about them."""
    for one, other in zip(found, expected, strict=True):
        assert json.dumps({**one.as_dict(), "seconds": 0}) == json.dumps({**other.as_dict(), "seconds": 0})


@pytest.mark.parametrize("evaluations", [0, 400, 500, 700, 900, 1300])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, evaluations):
    """In the pilot, between it and the run, in the middle, in the last block; two partitions, whose paths differ."""
    with pytest.raises(Stopped):
        profiles(THREE, ASKED, **OPTIONS, progress=stop_after(evaluations), out=tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "blocks").iterdir()}
    left, counted = folder(tmp_path).missing, []
    same(profiles(THREE, ASKED, **OPTIONS, progress=counted.append, out=tmp_path), WHOLE)
    assert sum(counted) == left
    assert (WHOLE[0].evaluations - left > 0) == bool(before)
    for name, content in before.items():
        assert (tmp_path / "blocks" / name).read_bytes() == content
    assert folder(tmp_path).missing == 0


def test_a_folder_gives_what_memory_gives_and_again_without_a_call(tmp_path):
    """From its results, and where they are gone from its blocks, in the same seconds: those of the measuring."""
    first = profiles(THREE, ASKED, **OPTIONS, out=tmp_path)
    same(first, WHOLE)
    for gone in ((), tmp_path.glob("profile-*.json")):
        for path in gone:
            path.unlink()
        again = profiles(replace_model(__call__=None), ASKED, **OPTIONS, out=tmp_path)
        assert [each.as_dict() for each in again] == [each.as_dict() for each in first]
    assert first[0].seconds > 0.0


def test_real_data_and_the_published_rule_go_on_too(tmp_path):
    generator = torch.Generator().manual_seed(0)
    data = Data(torch.randn(40, 2, generator=generator), np.arange(40) % 3)
    for method, more in ((PUBLISHED, {}), (DEFAULT, {"data": data})):
        options = {**OPTIONS, "samples": 24, "method": method, **more}
        folder = tmp_path / method.name
        with pytest.raises(Stopped):
            profiles(THREE, ASKED, **options, progress=stop_after(350), out=folder)
        assert len(list((folder / "blocks").iterdir())) >= 1
        same(profiles(THREE, ASKED, **options, out=folder), profiles(THREE, ASKED, **options))


def test_a_tolerance_goes_on_from_the_paths_that_are_there(tmp_path):
    profiles(THREE, ASKED, **OPTIONS, out=tmp_path)
    narrow = {**OPTIONS, "tolerance": 0.12}
    expected, counted = profiles(THREE, ASKED, **narrow), []
    assert expected[1].samples > 50
    same(profiles(THREE, ASKED, **narrow, progress=counted.append, out=tmp_path), expected)
    # The pilot and the six whole blocks were there; the last block, of two paths, becomes one of eight.
    whole = WHOLE[0].evaluations - 2 * 3 * 7
    assert sum(counted) == expected[0].evaluations - whole


def test_another_block_size_uses_what_is_finished_and_says_so(tmp_path):
    with pytest.raises(Stopped):
        profiles(THREE, ASKED, **OPTIONS, progress=stop_after(900), out=tmp_path)
    kept = sum(1 for path in (tmp_path / "blocks").glob("0-*"))
    smaller, counted = {**OPTIONS, "block": 4}, []
    found = profiles(THREE, ASKED, **smaller, progress=counted.append, out=tmp_path)
    assert sum(counted) == (50 - 8 * kept) * 3 * 7 and kept >= 2
    assert {each.sampling for each in found} == {"the paths asked for; blocks of 4 and 8 paths"}
    for one, other in zip(found, WHOLE, strict=True):  # float64: rounding is far below 1e-5
        np.testing.assert_allclose(one.entropy, other.entropy, rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.production, other.production, rtol=0, atol=1e-12)
    same(profiles(THREE, ASKED, **smaller, out=tmp_path), found)


def test_another_block_size_agrees_on_the_digits_network():
    """Float32, whose batches of another size round otherwise: 1e-5 nats is what is promised."""
    model = load("digits")
    pair = partition(model, [3], [8])
    one, other = (profile(model, pair, samples=60, levels=16, block=block) for block in (60, 7))
    assert np.max(np.abs(one.entropy - other.entropy)) < 1e-5
    assert np.max(np.abs(one.log_snr - other.log_snr)) < 1e-5


def crowded(x, sigma, condition):
    """Two points, and an allocator that is asked for more than there is by more than eight paths at once."""
    if len(x) > 8:
        torch.empty(len(x), 2**50)
    return (2.0 * condition - 1.0).reshape(-1, 1).expand_as(x).to(x.dtype)


def test_out_of_memory_loses_nothing(tmp_path):
    """The pilot's blocks of six paths fit, the run's of 16 do not, and those of eight go on from the pilot."""
    model = FunctionDenoiser(crowded, shape=(1,), classes=("left", "right"))
    pair, options = partition(model, [0], [1]), {"samples": 48, "levels": 6}
    with pytest.raises(
        InputError, match=r"^block is 16, expected 8 or fewer: out of memory; finished blocks are kept$"
    ):
        profile(model, pair, **options, block=16, out=tmp_path)
    counted = []
    found = profile(model, pair, **options, block=8, progress=counted.append, out=tmp_path)
    assert sum(counted) == 48 * 2 * 7
    same([found], [profile(model, pair, **options, block=8)])
    with pytest.raises(InputError, match="block is 16, expected 8 or fewer"):
        asked = Run(model, pair, **options, block=16)
        expected_cost(model, asked.plan, asked.pilot)


@pytest.mark.parametrize(("first", "second"), [(10, 25), (25, 10)])
def test_blocks_of_another_size_are_used(tmp_path, first, second):
    """The first paths are left, in blocks of one size: what a block of the other size needs of them is not asked."""
    pair, options, counted = partition(THREE, [0], [2]), {"log_snr": [-2.0, 0.0, 2.0], "samples": 50}, []
    profile(THREE, pair, **options, block=first, out=tmp_path)
    left = sorted((tmp_path / "blocks").iterdir())[: 30 // first]
    for path in (set((tmp_path / "blocks").iterdir()) - set(left)) | {tmp_path / "profile.json"}:
        path.unlink()
    found = profile(THREE, pair, **options, block=second, progress=counted.append, out=tmp_path)
    kept = first * len(left) // second * second  # of the second size as many whole ones as the first hold
    assert sum(counted) == (50 - kept) * 2 * 4  # branches; the start and three levels
    whole = profile(THREE, pair, **options, block=second)
    np.testing.assert_allclose(found.entropy, whole.entropy, rtol=1e-12)  # the same paths in other batches


CHANGES = {
    "model.digest": lambda: (replace_model(digest="0123456789abcdef"), ASKED, OPTIONS),
    "model.dtype": lambda: (replace_model(dtype=torch.float32), ASKED, OPTIONS),
    "partitions[1].label": lambda: (THREE, [ASKED[0], replace(ASKED[1], label="other")], OPTIONS),
    "partitions[1].prior": lambda: (THREE, [ASKED[0], replace(ASKED[1], prior=np.nextafter(0.5, 1.0))], OPTIONS),
    "partitions[1].second.1": lambda: (THREE, [ASKED[0], replace(ASKED[1], second={1: 0.4, 2: 0.6})], OPTIONS),
    "partitions[1].whole[0]": lambda: (THREE, [ASKED[0], replace(ASKED[1], whole=(0.2, 0.4, 0.4))], OPTIONS),
    "partitions": lambda: (THREE, ASKED[1:], OPTIONS),
    "seed": lambda: (THREE, ASKED, {**OPTIONS, "seed": 4}),
    "method.control": lambda: (THREE, ASKED, {**OPTIONS, "method": replace(DEFAULT, control=False)}),
    "data": lambda: (THREE, ASKED, {**OPTIONS, "data": Data(torch.zeros(60, 2), np.arange(60) % 3)}),
    "levels": lambda: (THREE, ASKED, {**OPTIONS, "levels": 7}),
    "samples of the pilot": lambda: (THREE, ASKED, {**OPTIONS, "samples": 90}),
}


def folder(path):
    """What the run of `OPTIONS` finds in its folder."""
    asked = Run(THREE, ASKED, **OPTIONS)
    return Folder(path, THREE, asked.plan, asked.pilot, result_paths(path, 2))


class replace_model:
    """The mixture, with some of what describes it said otherwise."""

    def __init__(self, **said):
        self.said = said

    def __getattr__(self, name):
        return self.said[name] if name in self.said else getattr(THREE, name)

    def __call__(self, x, sigma, condition):
        return THREE(x.double(), sigma.double(), condition).to(x.dtype)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    profiles(THREE, ASKED, **OPTIONS, out=folder)
    return folder


@pytest.mark.parametrize("field", CHANGES)
def test_another_run_is_refused_and_what_differs_is_named(finished, field):
    before = {path: path.read_bytes() for path in finished.rglob("*.*")}
    model, asked, options = CHANGES[field]()
    with pytest.raises(InputError) as refused:
        profiles(model, asked, **options, out=finished)
    assert str(refused.value).startswith(f"{field} is ")
    assert f", as in the run that {finished} holds; name another folder" in str(refused.value)
    assert {path: path.read_bytes() for path in finished.rglob("*.*")} == before


def test_a_renamed_model_goes_on_and_a_model_without_a_digest_is_its_name(finished, tmp_path):
    same_but_for_name = [
        replace(each, model=THREE.name)
        for each in profiles(replace_model(name="other"), ASKED, **OPTIONS, progress=stop_after(0), out=finished)
    ]
    same(same_but_for_name, WHOLE)
    unversioned = replace_model(digest=FunctionDenoiser.digest)
    with pytest.raises(Stopped):
        profiles(unversioned, ASKED, **OPTIONS, progress=stop_after(400), out=tmp_path)
    other = replace_model(digest=FunctionDenoiser.digest, name="other")
    with pytest.raises(InputError, match=r"^model\.name is other, expected "):
        profiles(other, ASKED, **OPTIONS, out=tmp_path)


def test_two_runs_in_one_folder_are_refused_until_the_first_has_ended(tmp_path):
    """A lock that belongs to an open file: another one in this process stands for another process."""
    with pytest.raises(Stopped):
        profiles(THREE, ASKED, **OPTIONS, progress=stop_after(400), out=tmp_path)
    kept = sorted(path.name for path in tmp_path.rglob("*"))
    with folder(tmp_path).alone():
        with pytest.raises(InputError) as refused:
            profiles(THREE, ASKED, **OPTIONS, out=tmp_path)
        working = f"process {os.getpid()} on {socket.gethostname()}"
        assert (
            str(refused.value) == f"out is {tmp_path}, expected a folder where no other run works, and {working} does"
        )
    assert sorted(path.name for path in tmp_path.rglob("*")) == kept
    same(profiles(THREE, ASKED, **OPTIONS, out=tmp_path), WHOLE)


HOLDING = """
    import sys, time
    from pathlib import Path
    from companion.files import locked

    with locked(Path(sys.argv[1], ".running")):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_lock(tmp_path):
    holding = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDING), tmp_path], stdout=subprocess.PIPE, text=True
    )
    with holding:
        assert holding.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holding.pid} on"), locked(tmp_path / ".running"):
            pass
        holding.kill()
    with locked(tmp_path / ".running") as held:
        assert held and (tmp_path / ".running").exists()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_locked_a_run_goes_on_and_removes_nothing_of_others(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    theirs = tmp_path / "blocks" / ".0-8-00000000-00000008.1.unfinished.npz"
    theirs.parent.mkdir()
    theirs.touch()
    monkeypatch.setattr("companion.files.fcntl.flock", no_locks)
    same(profiles(THREE, ASKED, **OPTIONS, out=tmp_path), WHOLE)
    assert theirs.exists()
    monkeypatch.undo()
    (tmp_path / "profile-1.json").unlink()
    same(profiles(THREE, ASKED, **OPTIONS, out=tmp_path), WHOLE)
    assert not theirs.exists()


@pytest.mark.parametrize("length", [0, 1, 100, -2])
def test_a_manifest_cut_short_is_made_again_from_the_blocks(finished, tmp_path, length):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    whole = json.loads((finished / "run.json").read_text())
    (tmp_path / "run.json").write_text((finished / "run.json").read_text()[:length])
    with pytest.raises(InputError, match=r"^seed is 4, expected 3, as in the run that "):
        profiles(THREE, ASKED, **{**OPTIONS, "seed": 4}, out=tmp_path)
    same(profiles(THREE, ASKED, **OPTIONS, progress=stop_after(0), out=tmp_path), WHOLE)
    assert json.loads((tmp_path / "run.json").read_text()) == whole


def test_blocks_of_two_runs_make_no_manifest(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    other = tmp_path / "other"
    with pytest.raises(Stopped):
        profiles(THREE, ASKED, **{**OPTIONS, "seed": 4}, progress=stop_after(500), out=other)
    shutil.copy(other / "blocks" / PILOT, tmp_path / "blocks" / PILOT)
    (tmp_path / "run.json").write_text("")
    with pytest.raises(InputError, match=r"^run\.json is cut short or damaged in "):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_full_disk_names_the_file(tmp_path, monkeypatch, error):
    """What numpy and torch raise names none."""

    def full(*_, **__):
        raise error

    monkeypatch.setattr("companion.estimate.blocks.np.savez", full)
    with pytest.raises(OSError, match=f"{getattr(error, 'strerror', error)}: '{tmp_path / 'blocks' / PILOT}'$"):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)
    assert list((tmp_path / "blocks").iterdir()) == []


@pytest.mark.parametrize("field", CHANGES)
def test_a_file_of_another_run_is_refused_in_its_place(finished, tmp_path, field):
    """The other run's folder is given one block of this one under the name it looks for."""
    model, asked, options = CHANGES[field]()
    pilot = Run(model, asked, **options).pilot
    (tmp_path / "blocks").mkdir()
    looked_for = tmp_path / "blocks" / f"1-8-00000000-{pilot.paths(0).stop:08d}.npz"
    looked_for.write_bytes((finished / "blocks" / PILOT).read_bytes())
    with pytest.raises(InputError, match=r"; remove that file and ask again$") as refused:
        profiles(model, asked, **options, out=tmp_path)
    assert str(refused.value).startswith(f"{field} in {tmp_path / 'blocks'}")


@pytest.mark.parametrize("name", ["companion", "torch", "numpy"])
def test_another_version_is_refused(finished, tmp_path, name):
    described = json.loads((finished / "run.json").read_text())
    described["versions"][name] = "0.0"
    (tmp_path / "run.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=rf"^versions\.{name} is .*, expected 0\.0, as in the run that "):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)


def test_a_block_under_another_name_is_refused(finished, tmp_path):
    (tmp_path / "blocks").mkdir()
    for path in (finished / "blocks").iterdir():
        (tmp_path / "blocks" / path.name).write_bytes(path.read_bytes())
    first, second = (tmp_path / "blocks" / f"0-8-{name}.npz" for name in ("00000000-00000008", "00000008-00000016"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"^paths\[0\] in .* is 0, expected 8; remove that file"):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)


@pytest.fixture(scope="module")
def damaged(finished, tmp_path_factory):
    """A folder whose first block may be spoilt, and the whole content of that block."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "blocks").mkdir()
    for path in (finished / "blocks").iterdir():
        (folder / "blocks" / path.name).write_bytes(path.read_bytes())
    path = folder / "blocks" / PILOT
    return folder, path, path.read_bytes()


def measured_or_refused(damaged):
    """Whether the damage was refused; if it was not, the numbers must be the right ones."""
    kept, right = (folder(each) for each in (damaged, damaged.parent / "right"))
    try:
        with kept.alone():
            records = kept.records(kept.pilot, [0])
    except InputError as error:
        assert "cut short or damaged, expected a whole block; remove that file and ask again" in str(error)
        return True
    with right.alone():
        (expected,) = right.records(right.pilot, [0])
    for one, other in zip(records[0], expected, strict=True):
        for name, values in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), values)
    return False


def test_a_block_cut_short_at_any_byte_is_refused(damaged):
    folder, path, content = damaged
    for length in [*range(0, len(content), 37), *range(len(content) - 100, len(content))]:
        path.write_bytes(content[:length])
        assert measured_or_refused(folder), length


@settings(max_examples=150)
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_no_number(damaged, data):
    """A zip file holds bytes that nobody reads, such as times; all that is read is under the checksum."""
    folder, path, content = damaged
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(changed))
    measured_or_refused(folder)


@pytest.mark.parametrize("length", [0, 1, 100, -2])
def test_a_manifest_cut_short_is_refused(finished, tmp_path, length):
    (tmp_path / "run.json").write_text((finished / "run.json").read_text()[:length])
    with pytest.raises(InputError, match=r"^run\.json is cut short or damaged in "):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)


def test_a_manifest_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(InputError, match=r"^run\.json is cut short or damaged in "):
        profiles(THREE, ASKED, **OPTIONS, out=tmp_path)


COMMAND = ["profile", "--partition", "3|8", "--samples", "48", "--levels", "6", "--block", "8", "--out"]
KILLED_WHILE_WRITING = """
    import os, signal, sys
    from companion.cli import main
    from companion.estimate import blocks

    def half(path, **arrays):
        whole(path, **arrays)
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    whole, blocks.np.savez = blocks.np.savez, half
    main(sys.argv[1:])
"""


def without_seconds(folder):
    """A result as the text it is, less the one number that no two runs share."""
    lines = (folder / "profile.json").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(' "seconds": ')]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "out"
    assert main([*COMMAND, str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_killed_again_and_again_the_command_ends_with_the_same_bits(tmp_path, uninterrupted):
    """SIGKILL in the pilot, after the second block, and with half a file on the disk; then nothing stops it."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "companion", *COMMAND, out]
    for moment in ("run.json", "blocks/0-8-00000008-*.npz"):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120.0
        while not list(out.glob(moment)) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL and not (out / "profile.json").exists()
    kept = {path: path.read_bytes() for path in (out / "blocks").glob("[01]*.npz")}
    assert 2 <= len(kept) < 7
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED_WHILE_WRITING), *COMMAND, out], check=False)
    assert ended.returncode == -signal.SIGKILL and len(list((out / "blocks").glob(".*.unfinished.npz"))) == 1
    subprocess.run(command, check=True, capture_output=True)
    assert without_seconds(out) == without_seconds(uninterrupted)
    assert {path: path.read_bytes() for path in kept} == kept
    assert not list((out / "blocks").glob(".*"))


@pytest.mark.slow
def test_two_processes_end_with_the_bits_of_one(tmp_path, uninterrupted):
    """Started as several GPUs are; on a processor the processes meet through gloo. Only the main one speaks."""
    out = tmp_path / "out"
    launch = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch, "-m", "companion", *COMMAND, str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("half decided at") == 1
    assert sum(line.startswith("876 evaluations of digits") for line in ended.stderr.splitlines()) == 1
    assert without_seconds(out) == without_seconds(uninterrupted)
    names = sorted(path.name for path in (out / "blocks").iterdir())
    assert names == sorted(path.name for path in (uninterrupted / "blocks").iterdir())


PEAK = """
    import sys
    import torch
    from companion.denoiser import FunctionDenoiser
    from companion.estimate.cost import _peak_of_process
    from companion.entropy import partition
    from companion.estimate.run import profile

    def pulled(x, sigma, condition):
        return (2.0 * condition.reshape(-1, 1, 1, 1) - 1.0).expand_as(x).to(x.dtype) * 0.1

    model = FunctionDenoiser(pulled, shape=(3, 64, 64), classes=("left", "right"))
    pair = partition(model, [0], [1])
    before = _peak_of_process()
    profile(model, pair, samples=int(sys.argv[1]), levels=4, block=32)
    print(_peak_of_process() - before)
"""


@pytest.mark.slow
def test_memory_stays_within_one_block():
    """States of 3 x 64 x 64: eight blocks peak at most 4 MiB above one, and below what is computed.

    The allocator is told to give back what is freed; otherwise its own reserves grow with time and hide the rest.
    """
    model = FunctionDenoiser(crowded, shape=(3, 64, 64), classes=("left", "right"))
    plan = Run(model, "left|right", samples=256, levels=4, block=32).plan
    command = [sys.executable, "-c", textwrap.dedent(PEAK)]
    surroundings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    one, many = (
        int(subprocess.run([*command, samples], check=True, capture_output=True, env=surroundings).stdout)
        for samples in ("32", "256")
    )
    block_of_noise = 32 * 3 * 64 * 64 * 8
    assert one > 4 * block_of_noise, one  # it is the states that are measured
    assert many < one + 2**22, (one, many)
    assert many < states_in_memory(plan, 3 * 64 * 64), (one, many)
