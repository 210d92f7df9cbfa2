"""Transformers of scikit-learn as encoders: fitted by the user, or cloned and fitted on what a seed trains on."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from hlvm._numbers import UsageError

__all__ = ["check_fitted", "fitted_estimator", "is_estimator", "settings_digest"]


def is_estimator(thing: Any) -> bool:
    """Tell whether something is of scikit-learn, without importing it."""
    return any(base.__module__.partition(".")[0] == "sklearn" for base in type(thing).__mro__)


def check_fitted(name: str, estimator: Any) -> None:
    """Refuse an estimator that was not fitted.

    Raises:
        UsageError: it was not.
    """
    if not is_estimator(estimator):
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise UsageError(
            f"is a {type(estimator).__name__} that is not fitted",
            argument=f"encoder {name!r}",
            remedies={"fit": "fit it", "study": "use wrap(..., fit=True) to have a study fit it on its training rows"},
        ) from None


def fitted_estimator(estimator: Any, batches: Any) -> Any:
    """A clone, fitted on the rows of some batches; every ``random_state`` that is None becomes their seed.

    Args:
        estimator: the transformer; it is left as it is.
        batches: with ``rows()`` and ``seed``.
    """
    own: Any
    if hasattr(estimator, "get_params"):
        from sklearn.base import clone

        own = clone(estimator)
        names = [name for name, value in own.get_params().items() if name.endswith("random_state") and value is None]
        if names:
            own.set_params(**dict.fromkeys(names, batches.seed))
    else:
        own = copy.deepcopy(estimator)
    own.fit(batches.rows())
    return own


def settings_digest(estimator: Any) -> str:
    """A digest of the class and settings of an estimator and of its library's version; "" where they are not known."""
    if not is_estimator(estimator):
        return ""
    import sklearn

    return hashlib.sha256(f"{sklearn.__version__} {estimator!r} {_settings(estimator)}".encode()).hexdigest()


def _settings(estimator: Any) -> list[str]:
    """Settings in words; those whose words would be an address of memory are told by their class."""
    found = estimator.get_params(deep=True).items()
    return sorted(f"{name}={type(value).__name__ if ' at 0x' in repr(value) else repr(value)}" for name, value in found)
