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


# The schema of the Citation File Format 1.2.0: names at the top, of an entity and of a person; what must be there.
CFF_NAMES = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact"),
    *("repository-code", "title", "type", "url", "version"),
}
CFF_ENTITY = {
    *("address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "location", "name", "orcid"),
    *("post-code", "region", "tel", "website"),
}
CFF_PERSON = {
    *("address", "affiliation", "alias", "city", "country", "email", "family-names", "fax", "given-names"),
    *("name-particle", "name-suffix", "orcid", "post-code", "region", "tel", "website"),
}


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


def is_cff_author(author):
    return author.keys() <= CFF_PERSON or ("name" in author and author.keys() <= CFF_ENTITY)


def test_citation_file_is_what_the_format_asks_for():
    """Zenodo takes title, authors, licence and keywords of a release from it, and refuses a file with a fault."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"authors", "cff-version", "message", "title"} <= cited.keys() <= CFF_NAMES
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert (cited["version"], cited["license"]) == (hlvm.__version__, PROJECT["license"])
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]
    for work in (cited, *cited["references"]):
        assert work.keys() >= {"authors", "title", "type"}
        assert work["authors"]
        assert all(map(is_cff_author, work["authors"]))
        assert all(each.keys() >= {"type", "value"} for each in work.get("identifiers", []))
    assert len(set(cited["keywords"])) == len(cited["keywords"])


def test_citation_file_dates_a_version_that_is_released():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = dict(re.findall(r"(?m)^## \[(\d.*?)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    assert str(cited.get("date-released")) == str(released.get(cited["version"]))
