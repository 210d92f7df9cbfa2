"""Text files of other programs, with and without a byte order mark."""

import json

import pytest

from hlvm._files.texts import read_json, read_text
from hlvm.cli.input import masked_names
from hlvm.cli.settings import load_settings
from hlvm.graph import LatentGraph

SETTINGS = '[network]\nkind = "linear"\ncode_dim = 2\n[mask]\nkind = "random"\nratio = 0.5\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_are_read_with_any_mark(tmp_path, encoding):
    graph = LatentGraph.from_edges([("ζ", "x"), ("ζ", "y")])
    (tmp_path / "g.json").write_text(json.dumps(graph.to_dict(), ensure_ascii=False), encoding=encoding)
    assert LatentGraph.load(tmp_path / "g.json") == graph
    (tmp_path / "c.toml").write_text(SETTINGS, encoding=encoding)
    assert len(load_settings(tmp_path / "c.toml").members) == 1
    (tmp_path / "m.json").write_text('["x"]', encoding=encoding)
    assert masked_names(None, tmp_path / "m.json") == ("x",)
    assert read_text(tmp_path / "m.json") == '["x"]'


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[" * 100_000, "too many brackets"), (b"\x80", "it is not UTF-8 text .*: save it as UTF-8"), (b"{", "line 1")],
    ids=["brackets", "bytes", "half"],
)
def test_read_json_refuses_in_one_line_naming_the_file(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^[^\n]*a\.json is not a JSON file: [^\n]*{message}[^\n]*$"):
        read_json(tmp_path / "a.json")


def test_load_settings_refuses_brackets_inside_each_other(tmp_path):
    (tmp_path / "c.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(ValueError, match=r"c\.toml is not a TOML file"):
        load_settings(tmp_path / "c.toml")
