"""The garments: read as their files have them, refused in one line where the files are not whole, and held out."""

import gzip

import numpy as np
import pytest
import torch

from companion.errors import InputError
from derivations.kit import garments

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([9, 0, 3, 3, 7, 1], dtype=np.uint8)


def idx(array):
    """The bytes of an IDX file (Y. LeCun's page on MNIST), written apart from the reader."""
    return b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def written(folder, images=None, labels=None, part="train"):
    """Gzipped files of the given contents, or of those above."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
        file.write(idx(IMAGES) if images is None else images)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(idx(LABELS) if labels is None else labels)
    return folder


@pytest.mark.parametrize(("part", "read"), [("train", garments.training_garments), ("t10k", garments.test_garments)])
def test_what_is_read_is_what_was_written(tmp_path, part, read):
    found = read(written(tmp_path, part=part))
    assert found.images.shape == (6, 1, 28, 28) and found.images.dtype == torch.float32
    # Every level comes back in its place: neighbours are 1/127.5 apart, which float32 keeps by far.
    np.testing.assert_array_equal(((found.images[:, 0].double() + 1.0) * 127.5).round().numpy(), IMAGES)
    assert found.images.min() >= -1.0 and found.images.max() <= 1.0
    assert found.labels.dtype == torch.int64 and found.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(garments.levels_of(found.images), IMAGES)


def test_a_folder_without_the_files_says_who_has_them(tmp_path):
    with pytest.raises(InputError, match=r"folder is .*, expected a folder with train-images.*dataset-fashion-mnist"):
        garments.training_garments(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"folder is .*train-images"):
        garments.training_garments(tmp_path / "file")


BAD = {
    "cut short": ({"images": idx(IMAGES)[:-1]}, "train-images.* to be 4720 bytes long, as its head says, not 4719"),
    "too long": ({"labels": idx(LABELS) + b"0"}, "train-labels.* to be 14 bytes long, as its head says, not 15"),
    "head cut": ({"images": idx(IMAGES)[:9]}, "train-images"),
    "nothing": ({"labels": b""}, "train-labels.* to begin with 00000801, not"),
    "other magic": ({"images": b"\x00\x00\x0d" + idx(IMAGES)[3:]}, "to begin with 00000803, not 00000d03"),
    "labels as images": ({"images": idx(LABELS)}, "train-images.* to begin with 00000803, not 00000801"),
    "too few labels": ({"labels": idx(LABELS[:5])}, "as many train labels as images, not 5 and 6"),
    "other size": ({"images": idx(IMAGES[:, :27])}, "images of 28x28 pixels, not 27x28"),
    "eleven classes": ({"labels": idx(LABELS + 1)}, "labels from 0 to 9, not 10"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_not_whole_are_one_line(tmp_path, kind):
    contents, said = BAD[kind]
    with pytest.raises(InputError, match=f"folder is .*, expected .*{said}") as raised:
        garments.training_garments(written(tmp_path, **contents))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cut", [lambda whole: whole[:-9], lambda whole: whole[:40], lambda whole: b"PK" + whole])
def test_what_is_no_whole_gzip_file_is_one_line(tmp_path, cut):
    path = written(tmp_path) / "train-images-idx3-ubyte.gz"
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz in it to be a whole gzip file \(.*\)") as raised:
        garments.training_garments(tmp_path)
    assert "\n" not in str(raised.value)


def test_damage_inside_a_gzip_file_is_one_line(tmp_path):
    path = written(tmp_path) / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[1000:1040] = bytes(40)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="to be a whole gzip file"):
        garments.training_garments(tmp_path)


def test_held_out_garments_are_two_hundred_a_class():
    held_out = garments.held_out_garments()
    assert held_out.images.shape == (2000, 1, 28, 28) and held_out.images.dtype == torch.float32
    assert held_out.labels.bincount().tolist() == [200] * 10
    assert held_out.images.min() == -1.0 and held_out.images.max() == 1.0
    assert garments.HELD_OUT.stat().st_size < 1_000_000


@pytest.mark.skipif(
    not garments.FOLDER.is_dir(),
    reason=f"the whole data set, Debian's dataset-fashion-mnist, is not at {garments.FOLDER}",
)
def test_held_out_garments_are_the_first_of_the_test_images():
    test, held_out = garments.test_garments(), garments.held_out_garments()
    for label in range(10):
        first = torch.nonzero(test.labels == label)[:200, 0]
        assert torch.equal(held_out.images[held_out.labels == label], test.images[first])
