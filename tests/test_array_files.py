"""Arrays in .npz and HDF5 files: one reader, which says what it cannot use and never reads damage as data."""

import fcntl
import zipfile

import h5py
import numpy as np
import pytest

from hlvm._files.arrays import StoredArray, open_array_file
from hlvm.datasets import load_dataset

VALUES = np.arange(20.0).reshape(10, 2)


def filled(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_open_array_file_tells_numbers_texts_and_what_is_neither(tmp_path, suffix):
    arrays = {"z": VALUES.astype(">f4"), "note": "text", "words": np.array([b"a"]), "wave": VALUES * 1j}
    opened = open_array_file(filled(tmp_path / f"a{suffix}", arrays))
    assert opened.texts == {"note": "text"}
    assert opened.left_out == {"words": "text", "wave": "complex numbers"}
    assert list(opened.arrays) == ["z"]
    assert opened.arrays["z"].dtype == np.float32
    assert opened.arrays["z"].dtype.isnative
    np.testing.assert_array_equal(opened.arrays["z"][:], VALUES)
    opened.close()


def test_open_array_file_leaves_python_objects_alone(tmp_path):
    np.savez(tmp_path / "a.npz", z=VALUES, meta=np.array({"epochs": 3}, dtype=object))
    opened = open_array_file(tmp_path / "a.npz")
    assert (list(opened.arrays), opened.left_out) == (["z"], {"meta": "Python objects"})


def test_open_array_file_follows_links_and_reads_names_of_any_kind(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["latents/z%2E1"] = VALUES
        file["latents/q"] = h5py.SoftLink("/latents/z%2E1")
        file["again"] = h5py.SoftLink("/latents")
        file["gone"] = h5py.SoftLink("/nowhere")
        file["away"] = h5py.ExternalLink("nowhere.h5", "/z")
        file["around"] = h5py.SoftLink("/")
        file.create_dataset(b"gr\xf6\xdfe", data=VALUES)
    opened = open_array_file(tmp_path / "a.h5")
    assert set(opened.arrays) == {"latents/z.1", "latents/q", "again/z%2E1", "again/q", r"gr\xf6\xdfe"}
    assert opened.left_out == {
        "gone": "a link to /nowhere, which is not there",
        "away": "a link to /z, which is not there",
        "around": "a link to a group that it is in",
    }
    opened.close()


def test_open_array_file_tells_a_lock_from_damage(tmp_path):
    path = filled(tmp_path / "a.h5", {"z": VALUES})
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"a\.h5 is locked: another process writes it, so wait"):
            open_array_file(path)


@pytest.mark.parametrize(
    "key",
    [
        *(0, -1, slice(None), slice(2, 100), slice(None, None, -2), Ellipsis, None),
        *([], [3], [0, -1], [3, 1, 3], np.array([7, 2]), np.arange(10) % 3 == 0, [True] + [False] * 9),
        *((0, 1), (slice(None), 0), (slice(1, 3), slice(None)), ([4, -6], 1), ([0, 2], [1, 0]), (slice(None), [1, 0])),
        *((Ellipsis, 0), ([2, 2], slice(0, 1))),
    ],
    ids=str,
)
def test_stored_array_gives_what_numpy_gives(tmp_path, key):
    with h5py.File(filled(tmp_path / "a.h5", {"z": VALUES}), "r") as file:
        stored = StoredArray(file["z"], "a.h5: 'z'")
        key = np.array(key, dtype=int) if isinstance(key, list) and not key else key
        np.testing.assert_array_equal(stored[key], VALUES[key], strict=True)
        assert (len(stored), stored.shape, stored.ndim) == (10, (10, 2), 2)


def test_stored_array_refuses_rows_that_are_not_there_and_closed_files(tmp_path):
    with h5py.File(filled(tmp_path / "a.h5", {"z": VALUES}), "r") as file:
        stored = StoredArray(file["z"], "a.h5: 'z'")
        for key in ([10], [-11], 10):
            with pytest.raises(IndexError, match=r"rows 0 to 9|out of range"):
                stored[key]
        with pytest.raises(IndexError, match="a boolean index needs one entry per row, got 3"):
            stored[[True, False, True]]
    with pytest.raises(ValueError, match=r"a\.h5: 'z' can no longer be read: the file was closed"):
        stored[:]


def test_open_array_file_refuses_a_shape_that_hides_numbers(tmp_path):
    """NumPy reads as many numbers as the shape says, and never reaches the checksum behind them."""
    path = filled(tmp_path / "a.npz", {"z": VALUES})
    with zipfile.ZipFile(path) as archive:
        content = archive.read("z.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z.npy", content.replace(b"(10, 2)", b"(9, 2) "))
    with pytest.raises(
        ValueError, match=r"a\.npz is not an \.npz file of arrays: it holds more numbers than its shape"
    ):
        open_array_file(path)


def test_open_array_file_refuses_two_entries_of_one_name(tmp_path):
    path = filled(tmp_path / "a.npz", {"z": VALUES})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("z.npy", b"")
    with pytest.raises(ValueError, match=r"a\.npz is not .* two entries have one name"):
        open_array_file(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_load_dataset_reads_damaged_files_or_refuses_them_in_one_line(tmp_path, suffix):
    rng = np.random.default_rng(0)
    arrays = {"latents/z": VALUES, "observed/x": VALUES[:, 0].astype("f4"), "about": "{}"}
    whole = filled(tmp_path / f"whole{suffix}", arrays).read_bytes()
    path, refusals = tmp_path / f"data{suffix}", []
    for case in range(150):
        content = bytearray(whole)
        if case % 3 == 0:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            with load_dataset(path) as data:
                data.rows([0, -1])
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)
