"""Nothing decides on the wording of an error: what another layer has to know of it stands in fields."""

import ast
import pickle
from pathlib import Path

import pytest

from hlvm._numbers import UsageError
from hlvm.cli import commands, settings, words

ROOT = Path(__file__).parent.parent
FILES = sorted(path for part in ("hlvm", "experiments", "benchmarks", "docs") for path in (ROOT / part).rglob("*.py"))

# Errors of libraries and of the system, which say by no type and no number what happened.
FOREIGN = {
    "hlvm/mae/training/program.py compile_program",  # JAX: an option that it does not know
    "hlvm/_process/command.py _room",  # JAX, h5py and C++: no memory, no room on the disk
    "hlvm/_files/arrays.py _not_opened",  # h5py: a file that is being written
}
SEARCHES = {"startswith", "endswith", "removeprefix", "removesuffix", "find", "index", "count", "replace", "partition"}
SEARCHES |= {"rpartition", "rfind", "rsplit"}


def mentions(node, names):
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def is_text(node, errors, texts):
    """Tell whether an expression is an error's text: str(error), error.args, f"{error}", or a name for it."""
    if isinstance(node, ast.Name):
        return node.id in texts
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):  # str(error).strip(), " ".join(...)
            return any(is_text(part, errors, texts) for part in (node.func.value, *node.args))
        says = isinstance(node.func, ast.Name) and node.func.id in ("str", "repr", "_one_line")
        return says and any(
            (isinstance(argument, ast.Name) and argument.id in errors) or is_text(argument, errors, texts)
            for argument in node.args
        )
    if isinstance(node, ast.Attribute):
        return node.attr in ("args", "message") and mentions(node.value, errors)
    if isinstance(node, ast.Subscript):
        return is_text(node.value, errors, texts)
    return isinstance(node, ast.JoinedStr) and mentions(node, errors)


def decisions(tree):
    """Functions in which the text of an error is compared, searched or substituted, with the line."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = [*function.args.args, *function.args.kwonlyargs]
        errors = {argument.arg for argument in arguments if is_error(argument)}
        nodes = list(ast.walk(function))
        errors |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
        texts = set()
        for node in nodes:
            if isinstance(node, ast.Assign) and is_text(node.value, errors, texts):
                texts |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        for node in nodes:
            if isinstance(node, ast.Compare):
                wording = any(isinstance(op, ast.In | ast.NotIn | ast.Eq | ast.NotEq) for op in node.ops)
                found = wording and any(is_text(part, errors, texts) for part in (node.left, *node.comparators))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                searched = node.func.attr in SEARCHES or (node.func.attr == "split" and node.args)
                by_pattern = isinstance(of, ast.Name) and of.id == "re"
                found = (searched and is_text(of, errors, texts)) or (
                    by_pattern and any(is_text(argument, errors, texts) for argument in node.args)
                )
            else:
                found = False
            if found:
                yield function.name, node.lineno


def is_error(argument):
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    return "Error" in annotation or "Exception" in annotation


@pytest.mark.parametrize(
    ("line", "decides"),
    [
        ("return 'grid' in str(error)", True),
        ("return str(error) == 'no'", True),
        ("return f'{error}'.startswith('member')", True),
        ("return error.args[0].removeprefix(': ')", True),
        ("return re.sub('a', 'b', str(error))", True),
        ("text = ' '.join(str(error).split()); return 'a' in text", True),
        ("text = _one_line(error); return text.partition(':')", True),
        ("return ' '.join(str(error).split())", False),
        ("return isinstance(error, OSError) and error.errno in (1, 2)", False),
        ("return error.argument in names", False),
    ],
)
def test_decisions_are_found(line, decides):
    for head in (
        "def f():\n    try:\n        g()\n    except ValueError as error:\n        ",
        "def f(error: Exception):\n  ",
    ):
        assert bool(list(decisions(ast.parse(head + line)))) == decides


def test_nothing_decides_on_the_wording_of_an_error():
    found = {
        f"{path.relative_to(ROOT)} {function}"
        for path in FILES
        for function, _ in decisions(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == FOREIGN


def test_remedies_that_readers_know_are_those_that_errors_have():
    """A table of words whose key no error uses would change nothing, and nobody would see it."""
    used = set()
    for path in (ROOT / "hlvm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict) and path.parent.name != "cli":
                used |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    assert set(words._REMEDIES) | set(settings._REMEDIES) <= used


def test_usage_error_is_told_in_the_words_of_its_reader():
    error = UsageError(
        "must be at least 1, got 0",
        argument="width",
        of="ViTConfig",
        remedies={"a": "use a", "b": "use b", "c": "use c"},
    )
    assert str(error) == "ViTConfig: width must be at least 1, got 0: use a, use b, or use c"
    told = error.told({"width": "--width", "ViTConfig": "network"}, {"a": "", "b": "give --b", "c": ""})
    assert told == "network: --width must be at least 1, got 0: give --b"
    assert str(UsageError("nothing is known")) == "nothing is known"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.told({"width": "w"})) == (str(error), error.told({"width": "w"}))


def test_in_command_words_knows_the_options_of_the_command():
    error = UsageError("must be below 1, got 2", argument="max_train")
    assert words.in_command_words(error, commands.score) == "--max-train must be below 1, got 2"
    assert words.in_command_words(error, commands.train) == "max_train must be below 1, got 2"
    assert words.in_command_words(ValueError("max_train"), commands.score) == "max_train"
