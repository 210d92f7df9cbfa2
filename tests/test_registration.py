"""Predictions that are committed before they are tested."""

import subprocess

import pytest

from experiments.registration import register, registered_in

PREDICTION = {"order": ["a", "b"], "share": 0.25}


def git(folder, *line):
    settings = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    found = subprocess.run(["git", *settings, *line], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    return tmp_path


def test_registered_in_names_the_commit_of_exactly_this_prediction(repository):
    assert registered_in("mine", PREDICTION, repository) is None
    path = register("mine", PREDICTION, repository)
    assert registered_in("mine", PREDICTION, repository) is None  # not committed yet
    git(repository, "add", str(path))
    git(repository, "commit", "-qm", "Register")
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Something else")
    assert registered_in("mine", PREDICTION, repository) == commit
    assert registered_in("mine", {**PREDICTION, "share": 0.25001}, repository) == commit  # as machines differ
    assert registered_in("mine", {**PREDICTION, "share": 0.26}, repository) is None
    assert registered_in("mine", {**PREDICTION, "order": ["b", "a"]}, repository) is None
    path.write_text(path.read_text().replace("0.25", "0.26"))
    assert registered_in("mine", PREDICTION, repository) is None


def test_registered_in_knows_nothing_without_git(tmp_path):
    register("mine", PREDICTION, tmp_path)
    assert registered_in("mine", PREDICTION, tmp_path) is None


def test_register_does_not_change_what_is_registered(tmp_path):
    path = register("mine", PREDICTION, tmp_path)
    register("mine", PREDICTION, tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="is not changed"):
        register("mine", {**PREDICTION, "share": 0.3}, tmp_path)
    assert path.read_bytes() == before
