"""How fast the scores are: ratios against scikit-learn, measured in the same run.

python benchmarks/scoring.py [--out benchmarks/results/scoring.json] [--only kernel|cca|growth] [--quick]

Contenders take turns; the table shows the median of the rounds and their range. Contenders may use both cores and this
package's scores use one, so the ratio is of times by the clock, on an idle machine; processor time, which other work
disturbs less, is shown beside it. With --only the other questions' rows in the file are kept.

kernel. Kernel regression of 8 targets on 16 features from 4,000 training rows, tested on 1,000 others. scikit-learn by
    the field's usual protocol: ``GridSearchCV`` of ``KernelRidge``, 4 × 4 grid, 3 folds, once per target and once for
    all targets together (one round each). This package: the same grid by exact leave-one-out on the first
    ``max_select`` = 1,500 rows, the chosen pairs fitted on all rows, with bootstrap intervals of every target. Test R²
    of all are shown.
cca. In-sample canonical correlations of 64 × 64 columns and 20,000 rows: all 64, or the first alone, which saves work
    for iterative solvers only. This package against statsmodels' ``CanCorr``, an eigenvalue solver (the textbook's
    generalised problem with SciPy, and ``CCA`` of cca-zoo where that is installed: pip install cca-zoo) and
    scikit-learn's iterative ``CCA`` (all pairs: one round). Beside them what this package's score costs with values
    held out and intervals.
growth. Time of the kernel regression and of CCA as rows grow, and what the Nyström approximation misses.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from rich.console import Console
from rich.table import Table
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from statsmodels.multivariate.cancorr import CanCorr

from hlvm._process.provenance import environment
from hlvm.scoring import RegressionConfig, cca, kernel_r2, kernel_r2_many
from hlvm.scoring.correlation.canonical import canonical
from hlvm.scoring.correlation.whitening import rank_tolerance, whiten
from hlvm.scoring.inputs import paired_matrices
from hlvm.scoring.regression.kernels import median_distance
from hlvm.scoring.regression.threads import own_settings

cca_zoo: Any = importlib.import_module("cca_zoo.linear") if importlib.util.find_spec("cca_zoo") else None

BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
RIDGES = (1e-4, 1e-2, 1e-1, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--only", choices=QUESTIONS, help="one question")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script out")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else list(QUESTIONS)
    rows = {name: QUESTIONS[name](arguments.quick) for name in names}
    for name, found in rows.items():
        print_rows(name, found)
    if arguments.out is not None:
        record = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
        for name, found in rows.items():
            record[name] = {"environment": environment("numpy", "scipy", "scikit-learn"), "rows": found}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def timed(
    contenders: dict[str, Callable[[], Any]], rounds: dict[str, int]
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, Any]]:
    """Seconds of every round by the clock and by the processors, contenders taking turns, and the last answers."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, Any] = {}
    for number in range(max(rounds.values())):
        for name, run in contenders.items():
            if number < rounds[name]:
                start = time.perf_counter(), time.process_time()
                answers[name] = run()
                seconds[name].append(time.perf_counter() - start[0])
                processor[name].append(time.process_time() - start[1])
    return seconds, processor, answers


def ratios(name: str, first: str, seconds: dict[str, list[float]], processor: dict[str, list[float]]) -> dict[str, Any]:
    """A contender's times, and their medians over the first contender's."""
    by_clock, by_processor = (statistics.median(of[name]) / statistics.median(of[first]) for of in (seconds, processor))
    return {
        "contender": name,
        "seconds": seconds[name],
        "processor_seconds": processor[name],
        "ratio": by_clock,
        "processor_ratio": by_processor,
    }


# ---------------------------------------------------------------------- kernel regression


def kernel(quick: bool) -> list[dict[str, Any]]:
    """8 targets, 16 features."""
    n_train, n_test, n_targets = (400, 200, 3) if quick else (4000, 1000, 8)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_train + n_test, 16))
    y = np.tanh(x @ rng.normal(size=(16, n_targets)) / 2) + 0.1 * rng.normal(size=(n_train + n_test, n_targets))
    config = RegressionConfig(
        max_train=n_train,
        test_fraction=n_test / (n_train + n_test),
        bandwidths=BANDWIDTHS,
        ridges=RIDGES,
        soft_limit=float("inf"),
    )
    split = kernel_r2(
        x[:, :1],
        x[:, :1],
        key=0,
        config=RegressionConfig(
            max_train=n_train, test_fraction=config.test_fraction, bandwidths=(1.0,), ridges=(1.0,), max_select=100
        ),
    ).split
    train, test = split.train, split.test
    centre, scale = x[train].mean(axis=0), x[train].std(axis=0)
    x_train, x_test = (x[train] - centre) / scale, (x[test] - centre) / scale
    gammas = [1 / (2 * (b * median_distance(x_train)) ** 2) for b in BANDWIDTHS]

    def search(targets: np.ndarray) -> np.ndarray:
        found = GridSearchCV(KernelRidge(kernel="rbf"), {"gamma": gammas, "alpha": list(RIDGES)}, cv=3)
        offset = targets[train].mean(axis=0)
        return found.fit(x_train, targets[train] - offset).predict(x_test) + offset

    def per_target_sklearn() -> float:
        return float(np.mean([r2_score(y[test, d], search(y[:, d])) for d in range(n_targets)]))

    def per_target() -> float:
        found = kernel_r2_many(x, {str(d): y[:, d] for d in range(n_targets)}, key=0, config=config)
        return float(np.mean([score.value for score in found.values()]))

    contenders = {
        "hlvm, each target its own pair": per_target,
        "GridSearchCV, once per target": per_target_sklearn,
        "hlvm, one pair for all targets": lambda: float(kernel_r2(x, y, key=0, config=config).per_dim.mean()),
        "GridSearchCV, all targets together": lambda: float(
            np.mean(r2_score(y[test], search(y), multioutput="raw_values"))
        ),
    }
    seconds, processor, answers = timed(contenders, {name: 3 if name.startswith("hlvm") else 1 for name in contenders})
    rows = []
    for ours, theirs in (tuple(contenders)[:2], tuple(contenders)[2:]):
        for name in (ours, theirs):
            rows.append({**ratios(name, ours, seconds, processor), "mean_test_r2": answers[name]})
    return rows


# ---------------------------------------------------------------------- CCA


def in_sample_cca(quick: bool) -> list[dict[str, Any]]:
    """All canonical pairs, and the first alone."""
    n, width = (2000, 8) if quick else (20_000, 64)
    rng = np.random.default_rng(0)
    common = rng.normal(size=(n, width))
    a, b = ((common + spread * rng.normal(size=(n, width))) @ rng.normal(size=(width, width)) for spread in (0.3, 0.8))
    rows = []
    for pairs in (width, 1):
        solvers = _solvers_of_all(pairs) if cca_zoo is None else {**_solvers_of_all(pairs), "cca-zoo": _cca_zoo(pairs)}
        contenders = {name: lambda solve=solve: solve(a, b) for name, solve in solvers.items()}
        rounds = dict.fromkeys(contenders, 9) | ({"scikit-learn": 1} if pairs > 1 else {})
        seconds, processor, answers = timed(contenders, rounds)
        for name in contenders:
            found = {**ratios(name, "hlvm, in sample", seconds, processor), "pairs": pairs}
            rows.append(found | {"mean_in_sample_correlation": float(np.sort(answers[name])[::-1][:pairs].mean())})
    return rows


def _solvers_of_all(pairs: int) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Contenders that are always there; each gives the in-sample correlations."""

    def sklearn_cca(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return _correlations(*CCA(n_components=pairs).fit_transform(a, b))

    return {
        "hlvm, in sample": _in_sample,
        "hlvm, and held out with intervals": lambda a, b: cca(a, b, key=0).in_sample,
        "statsmodels CanCorr": lambda a, b: np.asarray(CanCorr(a, b).cancorr),
        "SciPy eigh": _textbook,
        "scikit-learn": sklearn_cca,
    }


@own_settings
def _in_sample(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Do what ``cca`` does of it, input checks and all."""
    first, second = paired_matrices("a", a, "b", b)
    white = whiten(first, rank_tolerance(a)), whiten(second, rank_tolerance(b))
    return canonical(first, second, *white).correlations


def _textbook(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Roots of ``C_ab C_bb⁻¹ C_ba w = ρ² C_aa w``."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    cross = a.T @ b
    found = scipy.linalg.eigh(cross @ scipy.linalg.solve(b.T @ b, cross.T, assume_a="pos"), a.T @ a, eigvals_only=True)
    return np.sqrt(np.clip(found, 0.0, 1.0))


def _cca_zoo(pairs: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda a, b: _correlations(*cca_zoo.CCA(n_components=pairs).fit([a, b]).transform([a, b]))


def _correlations(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Of columns that belong together."""
    u, v = (x - x.mean(axis=0) for x in (u, v))
    return np.abs((u * v).sum(axis=0)) / np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))


# ---------------------------------------------------------------------- growth


def growth(quick: bool) -> list[dict[str, Any]]:
    """Time over rows."""
    rng = np.random.default_rng(0)
    rows = []
    for n in (500, 1000) if quick else (500, 1000, 2000, 4000, 8000, 32_000, 100_000):
        x = rng.normal(size=(n + 1000, 16))
        y = np.tanh(x @ rng.normal(size=(16, 8)) / 2) + 0.1 * rng.normal(size=(n + 1000, 8))
        config = RegressionConfig(
            max_train=n, test_fraction=1000 / (n + 1000), bandwidths=BANDWIDTHS, ridges=RIDGES, max_exact=4000
        )
        contenders = {
            "kernel_r2": lambda x=x, y=y, config=config: kernel_r2(x, y, key=0, config=config),
            "cca": lambda x=x, y=y: cca(x, y),
        }
        seconds, _, answers = timed(contenders, dict.fromkeys(contenders, 1))
        score = answers["kernel_r2"]
        rows.append(
            {
                "contender": f"{n} training rows",
                "seconds": seconds["kernel_r2"],
                "seconds_of_cca": seconds["cca"],
                "test_r2": score.value,
                "nystroem_error": score.nystroem_error,
            }
        )
    return rows


QUESTIONS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "kernel": kernel,
    "cca": in_sample_cca,
    "growth": growth,
}


def print_rows(name: str, rows: list[dict[str, Any]]) -> None:
    """One table per question."""
    table = Table(title=name)
    columns = [column for column in rows[0] if column not in ("contender", "seconds")]
    for column in ("contender", "seconds", "from, to", *columns):
        table.add_column(column.replace("_", " "))
    for row in rows:
        values = [f"{statistics.median(row[c]) if isinstance(row[c], list) else row[c]:.3g}" for c in columns]
        seconds = row["seconds"]
        table.add_row(
            row["contender"], f"{statistics.median(seconds):.3g}", f"{min(seconds):.3g}, {max(seconds):.3g}", *values
        )
    Console().print(table)


if __name__ == "__main__":
    main()
