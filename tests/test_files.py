"""Files and folders appear whole or not at all."""

import os
import stat

import pytest

from hlvm._files import atomic_folder, atomic_path, check_new_folder, is_new_folder, write_text_atomically


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


def test_what_a_stop_left_of_the_first_file_is_no_content(tmp_path):
    assert is_new_folder(tmp_path / "none", "run.json")
    assert is_new_folder(tmp_path, "run.json")
    (tmp_path / ".run-a1b2.json").touch()
    assert is_new_folder(tmp_path, "run.json")
    assert not is_new_folder(tmp_path, "config.json")
    (tmp_path / "mine.txt").touch()
    assert not is_new_folder(tmp_path, "run.json")
