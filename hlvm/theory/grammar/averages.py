"""Averages over the strings of a discrete tree: over all of them where there are few, else over strings drawn of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm.theory.grammar.inference import Inference
from hlvm.theory.grammar.results import Outcomes, SymbolLoss
from hlvm.theory.grammar.strings import Drawn, Pairs, Strings, all_strings
from hlvm.theory.grammar.summaries import Number, bits
from hlvm.theory.oracles import Answer, Answers, ByLatent, Part

__all__ = ["Averages"]

_MOST_STRINGS = 2**12
"""Averages go through all strings if there are so many at most."""

_MOST_PAIRS = 2**24
"""And with many masks, if there are so many strings and different masks at most."""

_MOST_OUTCOMES = 2**9
"""Joint entropies of latents go through all their outcomes if there are so many at most."""

_SPREADS: dict[Part, Number] = {"value": "spread", "noise": "noise_spread"}


class Averages:
    """Averages of one tree.

    Args:
        inference: of the tree, nodes may be cut off. Strings are those of the whole tree, so that averages at several
            heights are compared on the same ones.
    """

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.graph = inference.graph

    # ------------------------------------------------------------------ strings

    @cached_property
    def _number(self) -> int:
        return math.prod(self.inference.observed_symbols.tolist())

    @cached_property
    def _all(self) -> Strings:
        return self._all_of(self.inference.whole)

    def _all_of(self, inference: Inference) -> Strings:
        cells = all_strings(inference.observed_symbols)
        weights = np.exp(inference.log_likelihood(inference.pairs(cells, None)).astype(np.float64))
        kept = weights > 0
        return Strings(cells=cells[kept], weights=weights[kept] / weights.sum(), how="exact")

    def strings(self, rows: int, key: Any, of: Inference | None = None) -> Strings:
        """All strings if there are few, else some that are drawn; of the whole tree, unless said otherwise.

        Raises:
            ValueError: ``rows`` below 1, or no key where strings are drawn.
        """
        positive(rows, "rows")
        if key is not None:
            checked_key(key)  # refused even where it is not needed
        if self._number <= _MOST_STRINGS:
            return self._all if of is None else self._all_of(of)
        drawn = self._drawn(rows, key, of)
        return Strings(cells=drawn.cells, weights=np.full(rows, 1 / rows), how="estimated")

    def _drawn(self, n: int, key: Any, of: Inference | None = None) -> Outcomes:
        if key is None:
            raise ValueError(
                f"there is too much to go through (more than {_MOST_STRINGS} strings, {_MOST_PAIRS} with all masks, or "
                f"{_MOST_OUTCOMES} outcomes of the latents), so strings are drawn: give a key"
            )
        return (of or self.inference.whole).sample(checked_key(key), n)

    # ------------------------------------------------------------------ one mask

    def _mean(
        self, number: Number, strings: Strings, seen: Bool[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Mean over strings of a number of each latent or cell, and its standard error."""
        each = self.inference.number(Pairs(cells=strings.cells, visible=seen[None], shape=()), number)
        return strings.mean(each.astype(np.float64))

    def best_accuracy(self, seen: Bool[np.ndarray, " n"], strings: Strings) -> ByLatent:
        """Mean of the largest probability of each latent."""
        return self._named(*self._mean("top", strings, seen), strings)

    def latent_r2(self, seen: Bool[np.ndarray, " n"], part: Part, strings: Strings) -> ByLatent:
        """R² of each latent."""
        spread, error = self._mean(_SPREADS[part], strings, seen)
        total = self._total(part)
        return self._named(np.clip(1 - spread / total, 0.0, 1.0), error / total, strings)

    def bayes_loss(self, target: Bool[np.ndarray, " n"], seen: Bool[np.ndarray, " n"], strings: Strings) -> SymbolLoss:
        """Loss of each masked cell in bits, and of each column that it is rendered with."""
        names = tuple(np.array(self.graph.observed)[target].tolist())
        given = Pairs(cells=strings.cells, visible=seen[None], shape=())
        found = self.inference.posterior(given, names, "symbols")
        mse, errors, variance, losses, loss_errors, prior = [], [], [], [], [], []
        for name in names:
            node = self.graph.index[name]
            law = self.inference.laws[node]
            values = self.inference.parameters.values.get(node, np.eye(len(law)))
            values = values - law @ values  # far from 0 squares would cancel
            symbols = found[name].astype(np.float64)
            mean, error = strings.mean(np.maximum(symbols @ values**2 - (symbols @ values) ** 2, 0.0))
            mse.append(mean)
            errors.append(error)
            variance.append(law @ values**2)
            mean, error = strings.mean(_entropy(symbols))
            losses.append(mean)
            loss_errors.append(error)
            prior.append(_entropy(law))
        return SymbolLoss(
            mse=np.concatenate(mse),
            variance=np.concatenate(variance),
            bits=np.array(losses),
            prior_bits=np.array(prior),
            mse_error=np.concatenate(errors),
            bits_error=np.array(loss_errors),
            how=strings.how,
            rows=strings.rows,
        )

    def information(
        self, names: tuple[str, ...], given: tuple[str, ...], seen: Bool[np.ndarray, " n"], rows: int, key: Any
    ) -> Answer:
        """Bits that the visible part tells about some latents together, beyond those that are given."""
        for name in (*names, *given):
            if self.graph.position(name) >= self.graph.n_latents:
                raise ValueError(f"latents and given are names of latents, but {name!r} is observed")
        known = list(dict.fromkeys(given))
        all_names = [*known, *(name for name in dict.fromkeys(names) if name not in known)]
        sizes = [self.inference.parameters.n_symbols[self.graph.index[name]] for name in all_names]
        if math.prod(sizes) <= _MOST_OUTCOMES:
            strings = self.strings(rows, key, self.inference)
            each = self._told(all_names, seen, strings) - self._told(known, seen, strings)
        else:
            drawn = self._drawn(positive(rows, "rows"), key, self.inference)
            strings = Strings(cells=drawn.cells, weights=np.full(rows, 1 / rows), how="estimated")
            each = self._told_of(drawn, all_names, seen) - self._told_of(drawn, known, seen)
        mean, error = strings.mean(each)
        value = max(float(mean), 0.0) if strings.how == "exact" else float(mean)  # rounding may take it below
        return Answer(value, error=float(error), how=strings.how, rows=strings.rows)

    def _told(self, names: list[str], seen: Bool[np.ndarray, " n"], strings: Strings) -> Float[np.ndarray, " n"]:
        """For each string, by how much what is visible of it lowers the entropy of some latents together."""
        given = Pairs(cells=strings.cells, visible=seen[None], shape=(len(strings.cells),))
        nothing = Pairs(cells=strings.cells[:1], visible=np.zeros_like(seen)[None], shape=(1,))
        prior, rest = (_entropy(self._joint(names, pairs)) for pairs in (nothing, given))
        return prior - rest

    def _told_of(self, drawn: Outcomes, names: list[str], seen: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """For each draw, ``log2 p(latents | visible) / p(latents)``."""
        if not names:
            return np.zeros(len(drawn.cells))
        known = {name: drawn.symbols[name] for name in names}
        with_seen = Pairs(cells=drawn.cells, visible=seen[None], shape=(len(drawn.cells),))
        without = dataclasses.replace(with_seen, visible=np.zeros_like(seen)[None])
        likelihood = self.inference.log_likelihood
        each = likelihood(with_seen, known) - likelihood(with_seen) - likelihood(without, known)
        return bits(each.astype(np.float64))

    def _joint(self, names: list[str], given: Pairs) -> Float[np.ndarray, "n outcomes"]:
        """Posterior of some latents together."""
        if len(names) == 1:
            return self.inference.posterior(given, tuple(names), "symbols")[names[0]].astype(np.float64)
        sizes = [self.inference.parameters.n_symbols[self.graph.index[name]] for name in names]
        outcomes = itertools.product(*map(range, sizes))
        logs = [self.inference.log_likelihood(given, dict(zip(names, outcome, strict=True))) for outcome in outcomes]
        array = np.stack(logs, axis=1).astype(np.float64)
        chance = np.exp(array - array.max(axis=1, keepdims=True))
        return chance / chance.sum(axis=1, keepdims=True)

    # ------------------------------------------------------------------ many masks

    def latent_r2_batch(self, seen: Bool[np.ndarray, "m n"], part: Part, rows: int, key: Any) -> Answers:
        """R² of each latent for many masks."""
        spread = self._over_strings(seen, rows, key, _SPREADS[part])
        total = self._total(part)
        value = 1 - spread.value / total
        if spread.how == "exact":
            value = np.clip(value, 0.0, 1.0)  # of one string it may be negative, and a mean must keep that
        return Answers(value=value, error=spread.error / total, how=spread.how, rows=spread.rows)

    def relative_loss_batch(
        self, target: Bool[np.ndarray, "m n"], seen: Bool[np.ndarray, "m n"], rows: int, key: Any
    ) -> Answers:
        """Loss of each target in units of its variance, for many masks."""
        spread = self._over_strings(seen, rows, key, "cell_spread")
        value, error = (np.where(target, part, np.nan) for part in (spread.value, spread.error))
        return Answers(value=value, error=error, how=spread.how, rows=spread.rows)

    def _over_strings(self, seen: Bool[np.ndarray, "m n"], rows: int, key: Any, number: Number) -> Answers:
        """Mean over strings of a number of each latent or cell, mask by mask."""
        n_masks = len(seen)
        if key is not None:
            checked_key(key)
        if self._number <= _MOST_STRINGS:
            different, place = np.unique(seen, axis=0, return_inverse=True)
            strings = self._all
            if len(strings.cells) * len(different) <= _MOST_PAIRS:
                means = [self._mean(number, strings, one)[0] for one in different]
                value = np.stack(means)[place.reshape(-1)]
                return Answers(value=value, error=np.zeros_like(value), how="exact")
        drawn = Drawn(cells=self._drawn(n_masks * positive(rows, "rows"), key).cells, visible=seen)
        each = self.inference.number(drawn, number).reshape(n_masks, rows, -1).astype(np.float64)
        error = each.std(axis=1, ddof=1) / math.sqrt(rows) if rows > 1 else np.full_like(each[:, 0], np.nan)
        return Answers(value=each.mean(axis=1), error=error, how="estimated", rows=rows)

    # ------------------------------------------------------------------ spreads when nothing is seen

    def _named(
        self, numbers: Float[np.ndarray, " n_latents"], errors: Float[np.ndarray, " n_latents"], strings: Strings
    ) -> ByLatent:
        found = Answers(value=numbers[None], error=errors[None], how=strings.how, rows=strings.rows)
        return found.by_latent(self.graph)

    def _total(self, part: Part) -> Float[np.ndarray, " n_latents"]:
        total = np.array([self.inference.prior_spread(node, part) for node in range(self.graph.n_latents)])
        return np.where(total > 10 * np.finfo(self.inference.questions.dtype).eps, total, np.nan)


def _entropy(probabilities: Float[np.ndarray, "... v"]) -> Float[np.ndarray, "..."]:
    some = probabilities > 0
    return bits(-np.where(some, probabilities * np.log(np.where(some, probabilities, 1.0)), 0.0).sum(axis=-1))
