"""The one door for arrays of numbers: of any framework in, of NumPy out, and nothing that only looks like numbers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["as_numbers", "check_same_labels"]


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
            raise ValueError(
                f"{name}: expected numbers, got a masked array with {masked} masked entries: drop their rows, from all "
                "arrays alike"
            )
        values = values.data
    array = _of_framework(name, values)
    # The second test lets bfloat16 and friends in: NumPy calls their kind "V" but can convert them.
    if array.dtype.kind not in "fiub" and not np.can_cast(array.dtype, np.float64):
        shown = "Python objects" if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise ValueError(f"{name}: expected real numbers, got {shown}: convert it first, with a dtype such as float64")
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
        raise ValueError(f"{name}: expected an array of numbers, got {type(values).__name__} ({error})") from None


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
        raise ValueError(f"{name}: expected numbers, got {column.dtype}: convert it, or leave it out")
    if column.isna().any():
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", None))


def check_same_labels(first_name: str, first: Any, second_name: str, second: Any) -> None:
    """Refuse two frames whose rows have different labels: they would be paired by position.

    Args:
        first_name: what to call the first array.
        first: any array-like; only those of pandas have labels.
        second_name: what to call the second array.
        second: any array-like.

    Raises:
        ValueError: both are frames or columns of pandas, of equal length, and their indices differ.
    """
    pandas = sys.modules.get("pandas")
    kinds = () if pandas is None else (pandas.DataFrame, pandas.Series)
    if not (isinstance(first, kinds) and isinstance(second, kinds)) or len(first) != len(second):
        return
    if not first.index.equals(second.index):
        raise ValueError(
            f"{first_name} and {second_name}: expected rows with the same labels in the same order, got another index: "
            f"align them with .loc[...], or pass .to_numpy() to pair them by position"
        )
