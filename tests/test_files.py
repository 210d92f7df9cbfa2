"""Files and folders appear whole or not at all, are on the disk before they have their name, and have one writer."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hlvm._files import (
    as_path,
    atomic_folder,
    atomic_path,
    check_new_folder,
    is_new_folder,
    only_writer,
    write_text_atomically,
)
from hlvm._files.digests import check_digests, digests_of, read_json, read_npz, write_json


def test_write_text_atomically_replaces_and_honours_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        write_text_atomically(tmp_path / "a.txt", "one")
        write_text_atomically(tmp_path / "a.txt", "zwei é")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "zwei é"
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_atomic_path_needs_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"), atomic_path(tmp_path / "no" / "a.txt"):
        pass


def test_atomic_path_names_the_file_in_errors_and_not_the_temporary_one(tmp_path):
    with (
        pytest.raises(OSError, match="No space") as caught,
        atomic_path(tmp_path / "a.txt") as temporary,
    ):
        raise OSError(errno.ENOSPC, "No space", str(temporary))
    assert caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_folder_leaves_nothing_when_filling_fails(tmp_path, error):
    def fail():
        with atomic_folder(tmp_path / "run") as folder:
            (folder / "half.txt").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_atomic_folder_takes_an_empty_folder_and_makes_parents(tmp_path):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "deep" / "run"):
        with atomic_folder(target) as folder:
            (folder / "a.txt").write_text("whole")
        assert (target / "a.txt").read_text() == "whole"


def test_check_new_folder_refuses_files_and_full_folders(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(FileExistsError, match="exists already"):
            check_new_folder(target)


def test_is_new_folder_overlooks_what_a_kill_left(tmp_path):
    assert is_new_folder(tmp_path / "none")
    assert is_new_folder(tmp_path)
    (tmp_path / ".run.json-a1b2c3d4.hlvm-tmp").mkdir()
    (tmp_path / ".run.hlvm-lock").touch()
    (tmp_path / "run").mkdir()
    assert is_new_folder(tmp_path, "run")
    assert not is_new_folder(tmp_path)
    (tmp_path / "run" / "mine.txt").touch()
    assert not is_new_folder(tmp_path, "run")
    assert not is_new_folder(tmp_path / "run" / "mine.txt")


def test_as_path_reads_a_tilde_as_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert as_path("~/run") == Path("/home/someone/run")
    with pytest.raises(ValueError, match="~no-such-user/run: "):
        as_path("~no-such-user/run")


# ---------------------------------------------------------------------- killed, and several at once

HOLDER = """
import sys, time
from pathlib import Path
from hlvm._files import atomic_path, only_writer
with only_writer(Path(sys.argv[1])), atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_not_before(tmp_path):
    target, other = tmp_path / "a.txt", tmp_path / ".a.txt-mine.hlvm-notes"
    other.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, target], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another run is writing to .*a\.txt"), only_writer(target):
            pass
        write_text_atomically(target, "meanwhile")
        assert len(list(tmp_path.glob(".a.txt-*.hlvm-tmp"))) == 1
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".a.txt.hlvm-lock").exists()
    with only_writer(target):
        write_text_atomically(target, "whole")
    assert sorted(tmp_path.iterdir()) == [other, target]
    assert target.read_text() == "whole"


def test_only_writer_knows_a_file_by_any_of_its_paths_and_leaves_nothing(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a").mkdir()
    with only_writer(tmp_path / "a" / "b" / "run"):
        with pytest.raises(ValueError, match="another run is writing"), only_writer(tmp_path / "link" / "b" / "run"):
            pass
        with only_writer(tmp_path / "a" / "b" / "other"):
            pass
    assert not list((tmp_path / "a").iterdir())


# ---------------------------------------------------------------------- loss of power


def test_nothing_has_its_name_before_its_contents_are_on_the_disk(tmp_path, lose_power):
    """All that was not flushed comes back empty."""
    with lose_power(tmp_path):
        write_text_atomically(tmp_path / "a.txt", "text")
        with atomic_folder(tmp_path / "deep" / "run") as folder:
            (folder / "inside").mkdir()
            (folder / "inside" / "b.txt").write_text("text")
        (tmp_path / "unsafe.txt").write_text("text")
    assert (tmp_path / "a.txt").read_text() == "text"
    assert (tmp_path / "deep" / "run" / "inside" / "b.txt").read_text() == "text"
    assert not (tmp_path / "unsafe.txt").exists()  # nor was its name


# ---------------------------------------------------------------------- damage


def test_every_flipped_byte_of_a_json_file_is_seen(tmp_path, refused_or_equal):
    path, content = tmp_path / "a.json", {"names": ["x_1", "ü"], "number": 0.1, "n": 12}
    write_json(path, content)
    assert read_json(path) == content
    refused, _ = refused_or_equal(path, lambda: read_json(path), content)
    assert refused > 100


def test_every_flipped_byte_of_an_npz_file_is_seen(tmp_path, refused_or_equal):
    path = tmp_path / "a.npz"
    np.savez(path, rows=np.arange(30.0).reshape(10, 3), names=np.array(["a", "bc"]))

    def read():
        return {name: (array.dtype.str, array.tolist()) for name, array in read_npz(path).items()}

    refused, _ = refused_or_equal(path, read, read(), flips=(1,))
    assert refused > 500


def test_check_digests_names_the_file(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "in/b.txt"):
        (tmp_path / name).write_text(name)
    digests = digests_of(tmp_path)
    check_digests(tmp_path, digests)
    (tmp_path / "in" / "b.txt").write_text("in/c.txt")
    with pytest.raises(ValueError, match=r"in/b\.txt is damaged"):
        check_digests(tmp_path, digests)
    (tmp_path / "in" / "b.txt").unlink()
    with pytest.raises(ValueError, match=r"is damaged: in/b\.txt is missing"):
        check_digests(tmp_path, digests)
