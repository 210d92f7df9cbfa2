"""Files for installing without pip say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import hlvm

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"matplotlib": "matplotlib-base"}


def name_and_bound(line):
    return re.fullmatch(r"([\w-]+) ?(.*)", line).groups()


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))


def test_conda_recipe_names_this_version_and_every_dependency(recipe):
    assert recipe["context"]["version"] == hlvm.__version__
    python, *rest = recipe["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    wanted = dict(map(name_and_bound, PROJECT["dependencies"]))
    assert dict(map(name_and_bound, rest)) == {CONDA_NAMES.get(name, name): bound for name, bound in wanted.items()}


def test_conda_recipe_makes_the_command_and_has_the_licence(recipe):
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert dict([entry.split(" = ")]) == PROJECT["scripts"]
    assert recipe["about"]["license"] == PROJECT["license"]
    source = ROOT / "packaging" / "conda" / recipe["source"]["path"]
    assert (source / recipe["about"]["license_file"]).resolve() == ROOT / "LICENSE"


def test_dockerfile_copies_only_what_is_there_and_sent():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sent = set(re.findall(r"(?m)^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8")))
    copied = set()
    for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", text):
        copied |= set(line.split()[:-1])
    assert {name.split("/")[0] for name in copied} == sent
    for name in copied:
        assert (ROOT / name).exists()


def test_dockerfile_knows_a_cuda_extra_and_a_user():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"--build-arg EXTRA=(\w+)", text) == ["cuda"]
    assert "cuda" in PROJECT["optional-dependencies"]
    last_stage = text[text.rindex("\nFROM ") :]
    assert re.findall(r"(?m)^(USER|ENTRYPOINT) (.*)$", last_stage) == [
        ("USER", "1000:1000"),
        ("ENTRYPOINT", '["hlvm"]'),
    ]


def test_dockerfile_installs_what_the_build_needs():
    """The build reads these files: a name that pyproject.toml takes and the Dockerfile does not copy stops it."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    first = re.search(r"(?m)^COPY (pyproject.*)$", text).group(1).split()
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} <= set(first)
