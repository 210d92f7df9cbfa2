"""Data sets in files: what is written is what was drawn, whole or not at all."""

import dataclasses
import json
import pickle
import subprocess
import sys
import textwrap

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hlvm._files.arrays import StoredArray
from hlvm.datasets import Dataset, GroundTruthData, SampleStream, load_dataset, write_dataset
from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages, ImageSample
from hlvm.mechanisms import LinearGaussian
from hlvm.scoring import linear_r2
from hlvm.simulator import HierarchicalModel

SUFFIXES = (".npz", ".h5", ".hdf5")
KEY = jax.random.key(7)


TWO_PATCHES = LatentGraph.from_edges(
    [("level", "x/0 ."), ("level", "x/1 ü")], dims=1, observed=["x/0 .", "x/1 ü"], grid=(1, 2)
)


@dataclasses.dataclass(frozen=True)
class Blinks:
    """An image model of two patches: one latent sets the grey level of both."""

    graph: LatentGraph = TWO_PATCHES
    shape: tuple[int, int, int] = (2, 4, 1)
    offset: float = 0.0

    def sample(self, key, n):
        level = jax.random.uniform(key, (n, 1)) * (1 - self.offset) + self.offset
        images = jnp.broadcast_to(level[:, :, None, None], (n, *self.shape))
        return ImageSample(images=images, latents={"level": level}, graph=self.graph, noise={"level": -level})


def stop_after(n_chunks, size):
    def progress(done, total):
        if done >= n_chunks * size:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def model():
    graph = LatentGraph.from_edges([("top/ü", "a.b"), ("top/ü", "..")], dims=2)
    return HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_images_survive_the_file(tmp_path, suffix):
    path = write_dataset(tmp_path / f"blinks{suffix}", Blinks(), 10, key=KEY, chunk_size=4)
    with load_dataset(path) as data:
        assert len(data) == 10
        assert data.graph == Blinks().graph
        assert data.images.shape == (10, 2, 4, 1)
        np.testing.assert_array_equal(data.images[:, 0, 0, 0], data.latents["level"][:, 0])
        chunks = [Blinks().sample(jax.random.fold_in(KEY, i), 4).latents["level"] for i in range(3)]
        np.testing.assert_array_equal(data.latents["level"][:], np.concatenate(chunks)[:10])
        np.testing.assert_array_equal(data.noise["level"][:], -np.concatenate(chunks)[:10])
        assert data.about["source"] == "Blinks"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_part_of_a_sample_survives_with_odd_names(tmp_path, model, suffix):
    path = write_dataset(tmp_path / f"model{suffix}", model, 5, key=KEY)
    drawn = model.sample(jax.random.fold_in(KEY, 0), 5)
    with load_dataset(path) as data:
        for part in ("latents", "observed", "noise"):
            assert list(getattr(data, part)) == sorted(getattr(drawn, part)) or suffix == ".npz"
            for name, values in getattr(drawn, part).items():
                np.testing.assert_array_equal(getattr(data, part)[name][:], values)
        assert data.graph == model.graph
        np.testing.assert_array_equal(data.latent_matrix(["top/ü"]), drawn.latents["top/ü"])


def test_first_rows_do_not_depend_on_the_number_of_rows(tmp_path):
    short = load_dataset(write_dataset(tmp_path / "short.npz", Blinks(), 6, key=KEY, chunk_size=4))
    long = load_dataset(write_dataset(tmp_path / "long.npz", Blinks(), 11, key=KEY, chunk_size=4))
    np.testing.assert_array_equal(short.images, long.images[:6])


def test_uint8_images_are_rounded_to_the_nearest_level(tmp_path):
    path = write_dataset(tmp_path / "small.npz", Blinks(), 50, key=KEY, image_type="uint8")
    data = load_dataset(path)
    assert data.images.dtype == np.uint8
    np.testing.assert_array_less(np.abs(data.images[:, 0, 0, 0] / 255 - data.latents["level"][:, 0]), 0.5 / 255 + 1e-6)


# ---------------------------------------------------------------------- interruptions


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("n_chunks", [1, 2, 3])
def test_interrupted_run_is_taken_up_and_ends_in_the_same_file(tmp_path, suffix, n_chunks):
    path = tmp_path / f"data{suffix}"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=stop_after(n_chunks, 3.3))
    assert not path.exists()
    with pytest.raises(FileExistsError, match=r"interrupted run: continue it with resume"):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4)
    seen = []
    write_dataset(
        path, Blinks(), 10, key=KEY, chunk_size=4, resume=True, progress=lambda done, n: seen.append((done, n))
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]
    whole = write_dataset(tmp_path / f"whole{suffix}", Blinks(), 10, key=KEY, chunk_size=4)
    with load_dataset(path) as resumed, load_dataset(whole) as at_once:
        np.testing.assert_array_equal(resumed.images[:], at_once.images[:])
    assert not list(tmp_path.glob("*.partial"))


def test_resume_refuses_another_run(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=stop_after(1, 4))
    for changes, message in (
        ({"n": 11}, "started with n 10, now 11"),
        ({"chunk_size": 5}, "started with chunk_size 4, now 5"),
        ({"key": jax.random.key(8)}, "started with key"),
        ({"source": Blinks(offset=0.5)}, "started with another generator"),
        ({"image_type": "uint8"}, "started with image_type 'float32'"),
    ):
        given = {"source": Blinks(), "n": 10, "key": KEY, "chunk_size": 4} | changes
        with pytest.raises(ValueError, match=message):
            write_dataset(path, given.pop("source"), given.pop("n"), resume=True, **given)


def test_killed_run_leaves_no_file_and_can_be_taken_up(tmp_path):
    """``kill -9`` in the middle of the third chunk."""
    program = textwrap.dedent(
        """
        import os, signal, sys, jax
        sys.path.insert(0, sys.argv[2])
        from test_datasets import Blinks, KEY
        from hlvm.datasets import write_dataset
        import hlvm.datasets.writing as writing
        write, calls = writing._write_chunk, []
        def dying(path, arrays):
            calls.append(path)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, arrays)
        writing._write_chunk = dying
        write_dataset(sys.argv[1], Blinks(), 10, key=KEY, chunk_size=2)
        """
    )
    path = tmp_path / "data.h5"
    run = subprocess.run(
        [sys.executable, "-c", program, str(path), str(__import__("pathlib").Path(__file__).parent)],
        capture_output=True,
    )
    assert run.returncode == -9, run.stderr.decode()
    assert not path.exists()
    write_dataset(path, Blinks(), 10, key=KEY, chunk_size=2, resume=True)
    with load_dataset(path) as data:
        assert len(data) == 10


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"path": "data.csv"}, ValueError, r"must end in \.npz, \.h5, \.hdf5, got 'data.csv'"),
        ({"n": 0}, ValueError, "n must be a whole number of at least 1, got 0"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"image_type": "float16"}, ValueError, "image_type"),
        ({"path": "nowhere/data.npz"}, FileNotFoundError, "does not exist"),
        ({"path": "there.npz"}, FileExistsError, "exists already"),
    ],
)
def test_write_refuses_bad_input_before_drawing(tmp_path, changes, error, message):
    (tmp_path / "there.npz").write_bytes(b"kept")
    given = {"path": "data.npz", "n": 3, "chunk_size": 2} | changes
    with pytest.raises(error, match=message):
        write_dataset(tmp_path / given.pop("path"), Blinks(), given.pop("n"), key=KEY, **given)
    assert [file.name for file in tmp_path.iterdir()] == ["there.npz"]


def test_unfinished_data_set_is_whole_after_a_loss_of_power(tmp_path, lose_power):
    path = tmp_path / "data.npz"
    with lose_power(tmp_path), pytest.raises(KeyboardInterrupt):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=stop_after(2, 4))
    chunks = sorted((tmp_path / "data.npz.partial").glob("chunk_*"))
    assert [chunk.stat().st_size > 0 for chunk in chunks] == [True, True]
    with lose_power(tmp_path):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, resume=True)
    assert load_dataset(path).images[:].tobytes() == _whole(tmp_path).images[:].tobytes()


@pytest.mark.parametrize("damaged", [0, 1])
def test_damaged_chunk_is_drawn_again(tmp_path, damaged):
    """If it is the first, which tells whether the generator is the same, so are the others."""
    path, partial = tmp_path / "data.npz", tmp_path / "data.npz.partial"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=stop_after(2, 4))
    chunk = partial / f"chunk_{damaged:06d}.npz"
    chunk.write_bytes(chunk.read_bytes()[:-100])
    write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, resume=True)
    assert load_dataset(path).images[:].tobytes() == _whole(tmp_path).images[:].tobytes()


def test_damaged_description_of_an_unfinished_data_set_is_named(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=stop_after(2, 4))
    for content in (b"", b"\xff", b"[]"):
        (tmp_path / "data.npz.partial" / "about.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"about\.json is damaged"):
            write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, resume=True)


def test_second_writer_of_a_data_set_is_told_at_once(tmp_path):
    path = tmp_path / "data.npz"

    def another(done, total):
        with pytest.raises(ValueError, match=r"another run is writing to .*data\.npz"):
            write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, resume=True)

    write_dataset(path, Blinks(), 10, key=KEY, chunk_size=4, progress=another)
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


def _whole(folder):
    return load_dataset(write_dataset(folder / "whole.npz", Blinks(), 10, key=KEY, chunk_size=4))


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_damage_to_a_data_set_is_seen(tmp_path, model, suffix, refused_or_equal):
    """Of contents, names, types and shapes; in HDF5 files, which are not read at once, when rows are read."""
    path = write_dataset(tmp_path / f"data{suffix}", model, 5, key=KEY, chunk_size=3)

    def read():
        with load_dataset(path) as data:
            columns = {part: getattr(data, part) for part in ("latents", "observed", "noise")}
            found = {
                (part, name): values[:].tolist() for part, named in columns.items() for name, values in named.items()
            }
            return found, data.graph, dict(data.about)

    refused, _ = refused_or_equal(path, read, read(), every=17, flips=(1,))
    assert refused > 100


def test_pieces_zeroed_with_their_check_sums_are_damage(tmp_path):
    """As power loss leaves them; the check sum of zeros is zero. Rows that were zero when written are read as such."""
    images = np.zeros((600, 16, 16, 1), np.float32)  # 64 to a piece
    images[:64] = images[130:200] = 1.0
    images[250] = -0.0

    class Given(Blinks):
        def sample(self, key, n):
            return dataclasses.replace(super().sample(key, n), images=given.pop(0))

    path, given = tmp_path / "data.h5", [images[:300], images[300:]]
    write_dataset(path, Given(shape=images.shape[1:]), 600, key=KEY, chunk_size=300)
    with load_dataset(path) as data:
        assert np.asarray(data.images).tobytes() == images.tobytes()
        assert data.images[250].tobytes() == images[250].tobytes()
    with h5py.File(path) as file:
        piece = file["images"].id.get_chunk_info_by_coord((128, 0, 0, 0))
    with path.open("r+b") as file:
        file.seek(piece.byte_offset)
        file.write(bytes(piece.size))
    with load_dataset(path) as data:
        for rows in (slice(None), 129, [5, 140], Ellipsis, (slice(120, 190), 3)):
            with pytest.raises(ValueError, match=r"data.h5: 'images' is damaged: the rows from 128 on are zero now"):
                data.images[rows]
        assert data.images[:64].all()
        assert not data.images[200:600].any()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_data_set_with_an_array_missing_is_refused(tmp_path, model, suffix):
    path = write_dataset(tmp_path / f"data{suffix}", model, 5, key=KEY)
    if suffix == ".h5":
        with h5py.File(path, "a") as file:
            del file["noise/a%2Eb"]
    else:
        with np.load(path) as file:
            arrays = dict(file)
        del arrays["noise/a.b"]
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"is damaged: 'noise/a\.b' is missing"):
        load_dataset(path)


def test_stored_array_reads_rows_in_any_order(tmp_path):
    path, rows = tmp_path / "a.h5", np.arange(300.0).reshape(100, 3)
    with h5py.File(path, "w") as file:
        file["rows"] = rows
    with h5py.File(path) as file:
        stored = StoredArray(file["rows"], "rows")
        for wanted in (
            [3, 1, 1],
            [-1, 0],
            np.array([99, 2, 50]),
            rows[:, 0] > 200,
            np.zeros(0, int),
            slice(2, 50, 3),
            4,
        ):
            np.testing.assert_array_equal(stored[wanted], rows[wanted])
        assert np.asarray(stored).shape == stored.shape == (100, 3)


# ---------------------------------------------------------------------- a user's own data


def test_own_arrays_are_read_with_a_graph(tmp_path):
    graph = Blinks().graph
    images, level = np.zeros((4, 2, 4, 1)), np.arange(4.0)
    np.savez(tmp_path / "own.npz", **{"images": images, "latents/level": level})
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["images"], file["latents/level"] = images, level
    for name in ("own.npz", "own.h5"):
        with load_dataset(tmp_path / name, graph=graph) as data:
            np.testing.assert_array_equal(data.latents["level"][:], level[:, None])
            assert data.graph == graph


def test_own_data_can_be_scored(tmp_path):
    """Images, latents and a graph from elsewhere, through a file, to a score of what the pixels tell of each latent."""
    random = np.random.default_rng(0)
    size, hue = random.normal(size=(2, 400, 1))
    images = np.zeros((400, 2, 4, 1))
    images[:, :, :2] = size[:, :, None, None]  # the left patch shows the size, nothing shows the hue
    images += 0.1 * random.normal(size=images.shape)
    edges = [("size", "left"), ("size", "right"), ("hue", "right")]
    graph = LatentGraph.from_edges(edges, dims=1)
    np.savez(tmp_path / "own.npz", **{"images": images, "latents/size": size, "latents/hue": hue})
    with load_dataset(tmp_path / "own.npz", graph=graph) as data:
        pixels, truth = data.images.reshape(400, -1), data.latent_matrix(["size", "hue"])
    assert linear_r2(pixels, truth[:, :1], key=0).value > 0.95
    assert linear_r2(pixels, truth[:, 1:], key=0).value < 0.1


def test_from_arrays_names_what_does_not_fit():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=2)
    fine = {"z": np.zeros((3, 2))}
    assert len(Dataset.from_arrays(latents=fine, graph=graph)) == 3
    for arrays, message in (
        ({}, "all of them are missing"),
        ({"latents": {"y": np.zeros((3, 2))}}, "holds 'y', which the graph does not have"),
        ({"latents": {"z": np.zeros((3, 1))}}, "'z' has 1 columns, but dim 2"),
        ({"latents": fine, "observed": {"x1": np.zeros((4, 2))}}, "has 3 rows and .* has 4$"),
        ({"images": np.zeros((3, 4, 4)), "latents": fine}, r"\(n, height, width, channels\), got \(3, 4, 4\)"),
        ({"latents": {"z": np.zeros((3, 2, 1))}}, r"\(n, dim\), got \(3, 2, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(**arrays, graph=graph)


def test_from_arrays_takes_numbers_of_any_kind_and_refuses_others_by_name():
    frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [0.5, 1.5, 2.5]})
    big = np.arange(3, dtype=">f8")
    data = Dataset.from_arrays(latents={"z": frame, "w": frame["b"][::-1]}, observed={"x": big})
    np.testing.assert_array_equal(data.latents["z"], [[1, 0.5], [np.nan, 1.5], [3, 2.5]])
    assert data.observed["x"].dtype.isnative
    for arrays, message in (
        ({"latents": {"z": np.ma.masked_equal([1.0, 2.0], 2)}}, "latents 'z': .* a masked array with 1 masked"),
        (
            {"observed": {"x": np.array([1, "a"], dtype=object)}},
            "observed 'x': expected real numbers, got Python objects",
        ),
        ({"latents": {"z": frame.assign(b="text")}}, "latents 'z': column 'b': expected numbers"),
        ({"images": np.full((1, 2, 2, 1), "a")}, "images: expected real numbers"),
        ({"latents": {"z": frame}, "observed": {"x": frame.set_index("b")}}, "another index in observed 'x' than in"),
    ):
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(**arrays)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_load_dataset_says_what_it_leaves_out_and_refuses_variables_that_are_no_numbers(tmp_path, suffix):
    def written(name, **arrays):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".npz":
            np.savez(path, **arrays)
        else:
            with h5py.File(path, "w") as file:
                for key, values in arrays.items():
                    file[key] = values
        return path

    fine = {"latents/deep/z": np.arange(3.0)}
    with load_dataset(written("fine", **fine, labels=np.arange(3), note="text")) as data:
        assert list(data.latents) == ["deep/z"]
        assert set(data.left_out) == {"labels", "note"}
        assert repr(data) == "Dataset(3 rows, no images, 1 latents, 0 observed; left out: note, labels)"
        assert pickle.loads(pickle.dumps(data)).left_out == data.left_out
    for name, arrays, message in (
        ("text", fine | {"latents/t": np.array([b"a"] * 3)}, r"'latents/t' must hold real numbers, and is text"),
        ("none", {"z": np.zeros(3)}, r"all of them are missing; it has 'z'"),
        ("one", fine | {"latents/t": 1.0}, r"'latents/t' is a single number"),
        ("short", fine | {"latents/t": np.zeros(2)}, "has 2 rows and"),
        ("graph", fine | {"graph": '{"edges": 3}'}, '"edges" must be a list'),
        ("numbers", fine | {"graph": np.zeros(3)}, "'graph' must be JSON text"),
    ):
        with pytest.raises(ValueError, match=rf"{name}{suffix}: .*{message}"):
            load_dataset(written(name, **arrays))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_broken_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"no such format")
    with pytest.raises(ValueError, match=f"broken{suffix}"):
        load_dataset(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        load_dataset(tmp_path / f"missing{suffix}")


def test_file_of_a_newer_format_and_two_graphs_are_refused(tmp_path):
    latents = {"latents/z": np.zeros((3, 2))}
    np.savez(tmp_path / "new.npz", about=json.dumps({"format": "hlvm.dataset", "version": 99}), **latents)
    with pytest.raises(ValueError, match="99"):
        load_dataset(tmp_path / "new.npz")
    path = write_dataset(tmp_path / "own.npz", Blinks(), 2, key=KEY)
    with pytest.raises(ValueError, match="own graph differs from the given one"):
        load_dataset(path, graph=LatentGraph.quadtree(1))


# ---------------------------------------------------------------------- feeding a trainer


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_batches_hold_every_row_once_per_epoch(tmp_path, suffix):
    path = write_dataset(tmp_path / f"data{suffix}", Blinks(), 10, key=KEY)
    with load_dataset(path) as data:
        every = sorted(data.latents["level"][:, 0].tolist())
        in_order = list(data.batches(4))
        assert [len(batch["images"]) for batch in in_order] == [4, 4, 2]
        np.testing.assert_array_equal(
            np.concatenate([b["latents"]["level"] for b in in_order]), data.latents["level"][:]
        )
        shuffled = list(data.batches(4, seed=0, epochs=2))
        for epoch in (shuffled[:3], shuffled[3:]):
            assert sorted(np.concatenate([b["latents"]["level"][:, 0] for b in epoch]).tolist()) == every
        assert not np.array_equal(shuffled[0]["images"], shuffled[3]["images"])
        for batch in shuffled:
            np.testing.assert_array_equal(batch["images"][:, 0, 0, 0], batch["latents"]["level"][:, 0])
        assert [len(batch["images"]) for batch in data.batches(4, drop_last=True)] == [4, 4]
        with pytest.raises(ValueError, match="batch_size"):
            data.batches(0)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_rows_and_items_agree_and_survive_pickling(tmp_path, suffix):
    path = write_dataset(tmp_path / f"data{suffix}", Blinks(), 6, key=KEY)
    with load_dataset(path) as data, pickle.loads(pickle.dumps(data)) as twin:
        for one in (data, twin):
            item = one[-1]
            assert item["images"].shape == (2, 4, 1)
            np.testing.assert_array_equal(item["latents"]["level"], data.latents["level"][5])
            repeated = one.__getitems__([3, 1, 3])
            assert [r["latents"]["level"][0] for r in repeated] == [data.latents["level"][i, 0] for i in (3, 1, 3)]
        with pytest.raises(IndexError, match="row 6 of 6"):
            data[6]


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_rows_take_positions_and_truth_values_alike_in_every_format(tmp_path, suffix):
    path = write_dataset(tmp_path / f"data{suffix}", Blinks(), 6, key=KEY)
    with load_dataset(path) as data:
        level = data.latents["level"][:]
        for rows, places in (([0, -1], [0, 5]), (level[:, 0] > 0.5, np.flatnonzero(level[:, 0] > 0.5)), ([], [])):
            batch = data.rows(rows)
            np.testing.assert_array_equal(batch["latents"]["level"], level[np.array(places, dtype=int)])
            assert batch["images"].shape == (len(places), 2, 4, 1)
        with pytest.raises(IndexError, match="row -7 of 6"):
            data.rows([0, -7])
        for rows in ([0.5], 3, [True], [[0]]):
            with pytest.raises(ValueError, match="rows are a list of positions, or True and False for each of the 6"):
                data.rows(rows)


@pytest.mark.parametrize(
    "workers",
    [{}, pytest.param({"num_workers": 2, "multiprocessing_context": "spawn"}, marks=pytest.mark.slow)],
    ids=["this process", "two workers"],
)
def test_torch_loader_reads_every_row_once_per_epoch(tmp_path, workers):
    """In batches, through ``__getitems__``; worker processes open the file on their own."""
    data_utils = pytest.importorskip("torch.utils.data")
    path = write_dataset(tmp_path / "data.h5", Blinks(), 10, key=KEY)
    with load_dataset(path) as data:
        expected = sorted(data.latents["level"][:, 0].tolist())
        batches = list(data_utils.DataLoader(data, batch_size=4, shuffle=True, **workers))
    assert [tuple(batch["images"].shape) for batch in batches] == [(4, 2, 4, 1), (4, 2, 4, 1), (2, 2, 4, 1)]
    levels = np.concatenate([batch["latents"]["level"].numpy()[:, 0] for batch in batches])
    assert sorted(levels.tolist()) == expected
    for batch in batches:
        np.testing.assert_array_equal(batch["images"][:, 0, 0, 0], batch["latents"]["level"][:, 0])


def test_torch_loader_reads_a_stream():
    data_utils = pytest.importorskip("torch.utils.data")
    stream = SampleStream(Blinks(), KEY, batch_size=3, n_batches=2)
    drawn = list(data_utils.DataLoader(stream, batch_size=None))
    assert len(drawn) == 2
    np.testing.assert_array_equal(drawn[1]["images"], stream[1]["images"])


def test_stream_gives_the_same_batch_for_the_same_number():
    stream = SampleStream(Blinks(), KEY, batch_size=3, n_batches=4)
    batches = list(stream)
    assert len(batches) == len(stream) == 4
    np.testing.assert_array_equal(batches[2]["images"], stream[2]["images"])
    assert not np.array_equal(batches[0]["images"], batches[1]["images"])
    with pytest.raises(IndexError, match="batch 4 of 4"):
        stream[4]


def test_source_that_draws_something_else_is_refused(tmp_path):
    class Odd:
        graph = LatentGraph.quadtree(1)

        def sample(self, key, n):
            return [n]

    with pytest.raises(ValueError, match="the source drew a list"):
        write_dataset(tmp_path / "data.npz", Odd(), 3, key=KEY)


# ---------------------------------------------------------------------- factors


@pytest.fixture(scope="module")
def grammar():
    return GrammarImages.init(
        jax.random.key(0), n_symbols=4, n_classes=3, n_synonyms=2, n_levels=2, patch_pixels=4, style="grey"
    )


def test_ground_truth_gives_images_of_the_factors_asked_for(grammar):
    truth = GroundTruthData(grammar)
    assert truth.num_factors == len(truth.factor_names) == len(truth.factors_num_values) == 10
    assert truth.factors_num_values[:4] == (3, 2, 4, 2)
    assert truth.observation_shape == grammar.shape
    factors, images = truth.sample(6, np.random.RandomState(0))
    np.testing.assert_array_equal(truth.sample_observations_from_factors(factors, np.random.RandomState(1)), images)
    again, _ = truth.sample(6, np.random.RandomState(0))
    np.testing.assert_array_equal(again, factors)
    assert truth.sample_observations(3, np.random.default_rng(0)).shape == (3, *grammar.shape)


def test_ground_truth_draws_the_latents_that_are_no_factors_anew(grammar):
    truth = GroundTruthData(grammar, names=["z2_0_0"])
    factors = np.tile(truth.sample_factors(1, np.random.default_rng(0)), (20, 1))
    images = truth.sample_observations_from_factors(factors, np.random.default_rng(1))
    assert len(np.unique(images.reshape(20, -1), axis=0)) > 1
    labels = grammar.parse(grammar.unrender(images)).labels
    np.testing.assert_array_equal(labels, factors[:, 0])


def test_ground_truth_refuses_unknown_factors(grammar):
    for names, message in ((["x_0_0"], "'x_0_0' is not a latent"), ([], "at least one"), (["z2_0_0"] * 2, "each once")):
        with pytest.raises(ValueError, match=message):
            GroundTruthData(grammar, names=names)
    with pytest.raises(ValueError, match=r"shape \(num, 10\), got \(2, 3\)"):
        GroundTruthData(grammar).sample_observations_from_factors(np.zeros((2, 3)), np.random.default_rng(0))


def test_write_dataset_asks_for_room_before_hdf5_writes(tmp_path):
    """In a process of its own, whose files may not be larger: a failed write of HDF5 would end it by a signal."""
    program = (
        "import resource, sys, jax; from hlvm import HierarchicalModel, LatentGraph; "
        "from hlvm.datasets import write_dataset; from hlvm.mechanisms import LinearGaussian; "
        "model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 2), LinearGaussian()); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        "write_dataset(sys.argv[1], model, 2000, key=jax.random.key(1), chunk_size=200)"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path / "a.h5"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("OSError: [Errno 27] File too large")
    assert "posix_fallocate" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5.partial"]
