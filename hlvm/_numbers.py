"""The one door for numbers: of any framework in, of Python or NumPy out, and nothing that only looks like numbers.

Also the error in parts, which other layers word for those who do not call the package.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["UsageError", "aligned", "as_numbers", "first_labelled", "positive", "whole_number"]


class UsageError(ValueError):
    """Bad input in parts, kept as they are given, so that readers of a file or a shell can be told in their own words.

    Args:
        problem: says what is wrong; of an argument it says what must be, "must be at least 1, got 0".
        argument: the argument at fault, by its name in Python; "" where there is none.
        of: the class that the argument belongs to; "" for a function's.
        remedies: names of things to do instead -> how to do them in Python.

    Example:
        >>> ways = {"grid": "pass grid=", "subtrees": "use Patches.of_subtrees"}
        >>> error = UsageError("has no grid", argument="graph", remedies=ways)
        >>> str(error)
        'graph has no grid: pass grid=, or use Patches.of_subtrees'
        >>> error.told({"graph": "GRAPH"}, {"grid": "", "subtrees": "give --height"})
        'GRAPH has no grid: give --height'
    """

    def __init__(
        self, problem: str, *, argument: str = "", of: str = "", remedies: Mapping[str, str] | None = None
    ) -> None:
        self.problem, self.argument, self.of, self.remedies = problem, argument, of, dict(remedies or {})
        super().__init__(self.told())

    def told(self, names: Mapping[str, str] | None = None, remedies: Mapping[str, str] | None = None) -> str:
        """The message in a reader's words.

        Args:
            names: arguments and classes -> what the reader calls them; others keep their names.
            remedies: names of things to do -> how this reader does them; "" where he cannot. Others keep their words.
        """
        names, own = names or {}, remedies or {}
        head = f"{names.get(self.of, self.of)}: " if self.of else ""
        head += f"{names.get(self.argument, self.argument)} " if self.argument else ""
        *first, last = [words for name, known in self.remedies.items() if (words := own.get(name, known))] or [""]
        ways = f"{', '.join(first)}, or {last}" if first else last
        return f"{head}{self.problem}{': ' if ways else ''}{ways}"


def whole_number(value: Any, what: str, *, minimum: int, of: str = "") -> int:
    """A whole number of Python, NumPy or JAX as an ``int``; ``of`` names the class that has it.

    Raises:
        UsageError: another type, a truth value, or a number below the minimum.
    """
    try:
        is_boolean = isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
        number = None if is_boolean else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise UsageError(f"must be a whole number of at least {minimum}, got {value!r}", argument=what, of=of)
    return number


def positive(value: Any, what: str, *, of: str = "") -> int:
    """A whole number of at least 1 as an ``int``; else a UsageError."""
    return whole_number(value, what, minimum=1, of=of)


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Real numbers of any framework as a NumPy array of their own type, in the machine's byte order.

    PyTorch's tensors are detached from their graph and fetched from their device first. Nullable and Arrow columns
    become plain ones; their gaps become NaN.

    Args:
        name: what to call the array in error messages.
        values: of NumPy, JAX, PyTorch, pandas, Arrow or in lists; whole numbers, floats or truth values.

    Returns:
        The array; a view of the caller's memory where that is possible.

    Raises:
        ValueError: masked entries, text, dates, categories, complex numbers, Python objects, or rows of unequal length.
    """
    if isinstance(values, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(values))
        if masked:
            raise UsageError(
                f"expected numbers, got a masked array with {masked} masked entries: drop these rows from all arrays",
                of=name,
            )
        values = values.data
    array = _of_framework(name, values)
    # The second test lets bfloat16 and friends in: NumPy calls their kind "V" but can convert them.
    if array.dtype.kind not in "fiub" and not np.can_cast(array.dtype, np.float64):
        shown = "Python objects" if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise UsageError(f"expected real numbers, got {shown}: convert it first, with a dtype such as float64", of=name)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_framework(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        return _of_tensor(values)
    # Only whoever holds a frame has imported its library.
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if arrow is not None and isinstance(values, arrow.Table | arrow.Array | arrow.ChunkedArray):
        import pandas

        values = values.to_pandas()
    if pandas is not None and isinstance(values, pandas.DataFrame):
        columns = [_of_column(f"{name}: column {label!r}", values.iloc[:, k]) for k, label in enumerate(values.columns)]
        return np.stack(columns, axis=1) if columns else np.empty((len(values), 0))
    if pandas is not None and isinstance(values, pandas.Series | pandas.Index | pandas.api.extensions.ExtensionArray):
        return _of_column(name, pandas.Series(values))
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"expected an array of numbers, got {type(values).__name__} ({error})", of=name) from None


def _of_tensor(tensor: Any) -> np.ndarray:
    """A tensor of PyTorch. NumPy alone refuses those that need gradients, lie on a GPU or are bfloat16."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        import ml_dtypes

        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.numpy()


def _of_column(name: str, column: Any) -> np.ndarray:
    """A column of pandas: plain, nullable or of Arrow."""
    from pandas.api.types import is_numeric_dtype

    if not is_numeric_dtype(column.dtype):
        raise UsageError(f"expected numbers, got {column.dtype}: convert it, or leave it out", of=name)
    if column.isna().any():
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", None))


def first_labelled(*arrays: Any) -> Any:
    """The first frame or column of pandas among some arrays; ``None`` if no array has labels."""
    pandas = sys.modules.get("pandas")
    kinds = () if pandas is None else (pandas.DataFrame, pandas.Series)
    return next((array for array in arrays if isinstance(array, kinds)), None)


def aligned(first_name: str, first: Any, second_name: str, second: Any) -> Any:
    """Bring the rows of a second frame into the order of the first one's labels.

    Args:
        first_name: what to call the first array.
        first: any array-like; only frames and columns of pandas have labels.
        second_name: what to call the second array.
        second: any array-like.

    Returns:
        The second array: as it is, or, where both have labels, in the first one's order.

    Raises:
        ValueError: both have labels, and these are not the same ones.
    """
    pandas = sys.modules.get("pandas")
    kinds = () if pandas is None else (pandas.DataFrame, pandas.Series)
    if not (isinstance(first, kinds) and isinstance(second, kinds)) or first.index.equals(second.index):
        return second
    same = len(first) == len(second) and first.index.is_unique and second.index.is_unique
    if not same or not first.index.isin(second.index).all():
        raise ValueError(
            f"expected rows with the same labels in both frames, got another index in {second_name} than in "
            f"{first_name}: select common rows with .loc[...], or pass .to_numpy() to pair rows by position"
        )
    return second.loc[first.index]
