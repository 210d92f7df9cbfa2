"""Knowledge of each height under masks of patches: density evolution by population dynamics.

On a tree the messages of subtrees are independent, given the symbols at their roots. So the law of a node's message is
found from that of its children's, height by height, without ever drawing a whole string. Populations of messages stand
for the laws; each message is kept with the symbol that is true, as a population per symbol. With the rules of one
grammar this is exact but for the size of the populations, because every node of a height has the same rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, as_numbers, whole_number
from hlvm.theory.grammar.sizes import GrammarSizes, SizedGrammar
from hlvm.theory.oracles import Answers

__all__ = ["DensityEvolution", "Evidence", "density_evolution"]

Evidence: TypeAlias = Literal["string", "below"]
"""Of a node: the visible cells of the whole string, or those below it alone."""

_AT_ONCE = 2**23
"""Numbers worked on at once: 64 MiB."""

_MOST_TUPLES = 2**62


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DensityEvolution:
    """Knowledge of the symbols of each height, over shares of masked patches.

    All arrays have shape (n_shares, n_heights) and are means over nodes, strings, masks and grammars. They are
    estimates, with standard errors over populations.

    Attributes:
        masked_shares: shape (n_shares,).
        heights: shape (n_heights,): from the patch height to L.
        accuracy: share of symbols that the best guess finds, 0 to 1.
        truth: posterior probability of the true symbol, 0 to 1.
        r2: R² of the one-hot symbol by its posterior mean, against its law without evidence, 0 to 1; NaN where that
            law leaves nothing open.
        entropy: entropy of the posterior, in bits.
    """

    masked_shares: Float[np.ndarray, " n_shares"]
    heights: Int[np.ndarray, " n_heights"]
    accuracy: Answers
    truth: Answers
    r2: Answers
    entropy: Answers


class _Table(NamedTuple):
    """Rules of one height in a row: what they write, (n_rules, s), and how many symbols stand above and below."""

    writes: Int[np.ndarray, "rules s"]
    above: int
    below: int

    @property
    def synonyms(self) -> int:
        return len(self.writes) // self.above


def density_evolution(
    grammar: SizedGrammar,
    *,
    patch_height: int = 0,
    masked_shares: Sequence[float] | float,
    rules: Mapping[int, Any] | None = None,
    evidence: Evidence = "string",
    population: int = 1000,
    n_populations: int = 8,
    key: Any,
) -> DensityEvolution:
    """Predict how much of each height can be known when whole patches are masked by chance.

    A patch is the subtree of a node of height ``patch_height``; each is masked with the same probability,
    independently. A visible patch gives the exact message of its string, a masked one none. Where every tuple has one
    parent, a visible patch tells the symbol at its top, so the curve depends on the height above the patch alone:
    patches of height h in L levels are single cells in L - h levels. Memory grows as ``8 L v² population`` bytes.

    Args:
        grammar: anything with the sizes of a grammar.
        patch_height: height of the patches' tops, 0 (single cells) to L.
        masked_shares: probabilities with which a patch is masked, 0 to 1.
        rules: level, 1 to L -> whole numbers (symbols of the level, m, s), as in
            the ``rules`` of a :class:`~hlvm.images.StringGrammar`, for one grammar; two rules may be equal.
            ``None``: each population draws its own grammar, one table per height, whose nodes share it, all tuples
            different. The standard errors then hold the spread between grammars.
        evidence: "string": all visible cells, those outside the node's subtree too; "below": those in it alone.
        population: messages kept for each symbol of a height, and nodes looked at of each height.
        n_populations: independent populations, at least 2, from which the standard errors are taken.
        key: a JAX key or an int. The shares have the same grammars and the same draws.

    Returns:
        Means and standard errors per share and height.

    Raises:
        ValueError: a size, share, height or rule out of range.

    References:
        :cite:t:`mezard2006reconstruction` use population dynamics for reconstruction on trees. For random corruption
        of leaves :func:`corruption_transition` has the annealed recursion.

    Example:
        >>> sizes = GrammarSizes(n_symbols=8, n_classes=8, n_synonyms=2, n_levels=3, tuple_size=2)
        >>> curve = density_evolution(sizes, masked_shares=[0.0, 1.0], population=50, n_populations=2, key=0)
        >>> curve.accuracy.value[:, -1].tolist()  # of the class: all is known, and nothing
        [1.0, 0.125]
    """
    sizes = GrammarSizes.of(grammar)
    bottom = sizes.checked_height(patch_height, minimum=0)
    shares = _checked_shares(masked_shares)
    given = None if rules is None else _checked_tables(rules, sizes)
    if evidence not in ("string", "below"):
        raise UsageError(f"must be 'string' or 'below', got {evidence!r}", argument="evidence")
    whole_number(population, "population", minimum=2)
    whole_number(n_populations, "n_populations", minimum=2)
    if given is None and sizes.n_tuples > _MOST_TUPLES:
        raise UsageError(
            f"has {sizes.n_symbols}^{sizes.tuple_size} tuples, too many to draw from",
            argument="grammar",
            remedies={"rules": "pass rules="},
        )
    words = np.asarray(jax.random.key_data(checked_key(key))).ravel().tolist()
    found = np.empty((n_populations, len(shares), sizes.n_levels - bottom + 1, 5))
    for number in range(n_populations):
        tables = given or _drawn_tables(np.random.default_rng([*words, number, 0]), sizes)
        for row, share in enumerate(shares):
            rng = np.random.default_rng([*words, number, 1])
            messages = _upward(rng, tables, bottom, share, population)
            for height, seen in _downward(rng, tables, bottom, messages, evidence, population):
                found[number, row, height - bottom] = _means(*seen)
    return _summary(found, shares, np.arange(bottom, sizes.n_levels + 1))


# ---------------------------------------------------------------------- checks


def _checked_shares(masked_shares: Sequence[float] | float) -> Float[np.ndarray, " n_shares"]:
    shares = np.atleast_1d(as_numbers("masked_shares", masked_shares)).astype(np.float64)
    if shares.ndim != 1 or not len(shares) or not ((shares >= 0) & (shares <= 1)).all():
        raise UsageError(f"must be shares from 0 to 1, got {masked_shares!r}", argument="masked_shares")
    return shares


def _checked_tables(rules: Mapping[int, Any], sizes: GrammarSizes) -> dict[int, _Table]:
    if sorted(rules) != list(range(1, sizes.n_levels + 1)):
        raise UsageError(f"must have the levels 1 to {sizes.n_levels}, got {list(rules)}", argument="rules")
    tables: dict[int, _Table] = {}
    for level in sorted(rules):
        table, shape = np.asarray(rules[level]), (sizes.n_symbols_at(level), sizes.n_synonyms, sizes.tuple_size)
        right = table.shape == shape and table.dtype.kind in "iu"
        if not right or table.min() < 0 or table.max() >= sizes.n_symbols:
            raise UsageError(
                f"must be whole numbers from 0 to {sizes.n_symbols - 1} of shape {shape}, got shape {table.shape} and "
                f"type {table.dtype}",
                argument=f"rules[{level}]",
            )
        tables[level] = _Table(table.reshape(-1, sizes.tuple_size).astype(np.int64), shape[0], sizes.n_symbols)
    return tables


def _drawn_tables(rng: np.random.Generator, sizes: GrammarSizes) -> dict[int, _Table]:
    tables: dict[int, _Table] = {}
    for level in range(1, sizes.n_levels + 1):
        codes = rng.choice(sizes.n_tuples, size=sizes.n_rules(level), replace=False)
        powers = sizes.n_symbols ** np.arange(sizes.tuple_size, dtype=np.int64)
        writes = codes[:, None] // powers % sizes.n_symbols
        tables[level] = _Table(writes, sizes.n_symbols_at(level), sizes.n_symbols)
    return tables


# ---------------------------------------------------------------------- messages
#
# A message of a node is the likelihood of what is visible below it, for each symbol that it may have, divided by the
# largest. That of the truth stays far above the smallest float: by Bayes' rule it is below 1e-100 with a probability
# of less than v 1e-100. What underflows are symbols that are as good as refuted.


def _scaled(messages: Float[np.ndarray, "... v"]) -> Float[np.ndarray, "... v"]:
    return messages / messages.max(axis=-1, keepdims=True)


def _upward(
    rng: np.random.Generator, tables: Mapping[int, _Table], bottom: int, share: float, population: int
) -> dict[int, Float[np.ndarray, "symbols population symbols"]]:
    """Populations of messages from the patches' tops to the root: height -> (true symbol, member, symbol)."""
    visible = np.repeat(np.eye(tables[1].below)[:, None], population, axis=1)
    for height in range(1, bottom + 1):
        visible = _one_up(rng, tables[height], visible)
    n_symbols = visible.shape[0]
    # The same draws serve every share, so that curves are smooth.
    masked = rng.random((n_symbols, population)) < share
    messages = {bottom: np.where(masked[..., None], 1.0, visible)}
    for height in range(bottom + 1, len(tables) + 1):
        messages[height] = _one_up(rng, tables[height], messages[height - 1])
    return messages


def _one_up(rng: np.random.Generator, table: _Table, below: Float[np.ndarray, "c n c"]) -> Float[np.ndarray, "a n a"]:
    """Messages of parents from those of children. Each parent draws a rule, and each child a member of its symbol."""
    population = below.shape[1]
    above = np.empty((table.above, population, table.above))
    step = max(1, _AT_ONCE // (population * len(table.writes)))
    for first in range(0, table.above, step):
        truths = np.arange(first, min(first + step, table.above))
        rule = truths[:, None] * table.synonyms + rng.integers(table.synonyms, size=(len(truths), population))
        product = np.ones((*rule.shape, len(table.writes)))
        for place in range(table.writes.shape[1]):
            product *= _members(rng, below, table.writes[rule, place])[..., table.writes[:, place]]
        above[truths] = _scaled(product.reshape(*rule.shape, table.above, table.synonyms).sum(axis=-1))
    return above


def _members(
    rng: np.random.Generator, messages: Float[np.ndarray, "c n c"], truths: Int[np.ndarray, "..."]
) -> Float[np.ndarray, "... c"]:
    return messages[truths, rng.integers(messages.shape[1], size=truths.shape)]


class _Seen(NamedTuple):
    """Nodes of one height: their true symbols, posteriors and laws without evidence."""

    truths: Int[np.ndarray, " n"]
    posterior: Float[np.ndarray, "n v"]
    prior: Float[np.ndarray, "n v"]


def _downward(
    rng: np.random.Generator,
    tables: Mapping[int, _Table],
    bottom: int,
    messages: Mapping[int, Float[np.ndarray, "c n c"]],
    evidence: Evidence,
    population: int,
) -> Iterator[tuple[int, _Seen]]:
    """Nodes along random paths from the root: what is known of each from above, joined with what is from below."""
    top = len(tables)
    n_classes = tables[top].above
    truths = np.arange(population) % n_classes
    prior = np.full((population, n_classes), 1 / n_classes)
    outside = prior
    for height in range(top, bottom - 1, -1):
        if evidence == "below":
            outside = prior
        joint = outside * _members(rng, messages[height], truths)
        yield height, _Seen(truths, joint / joint.sum(axis=1, keepdims=True), prior)
        if height > bottom:
            truths, outside, prior = _one_down(rng, tables[height], messages[height - 1], truths, outside, prior)


def _one_down(
    rng: np.random.Generator,
    table: _Table,
    below: Float[np.ndarray, "c n c"],
    truths: Int[np.ndarray, " n"],
    outside: Float[np.ndarray, "n a"],
    prior: Float[np.ndarray, "n a"],
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n c"], Float[np.ndarray, "n c"]]:
    """One child of each node, at places in turn: its truth, what is known of it from outside, and its law."""
    n, size = len(truths), table.writes.shape[1]
    rule = truths * table.synonyms + rng.integers(table.synonyms, size=n)
    order = rng.permutation(n)
    written, outer, law = np.empty(n, dtype=np.int64), np.empty((n, table.below)), np.empty((n, table.below))
    step = max(1, _AT_ONCE // len(table.writes))
    for place in range(size):
        of_place = order[place::size]
        for first in range(0, len(of_place), step):
            nodes = of_place[first : first + step]
            weights = np.repeat(outside[nodes], table.synonyms, axis=1)
            for other in (other for other in range(size) if other != place):
                weights = weights * _members(rng, below, table.writes[rule[nodes], other])[:, table.writes[:, other]]
            writes = np.eye(table.below)[table.writes[:, place]]
            outer[nodes] = _scaled(weights @ writes)
            law[nodes] = np.repeat(prior[nodes], table.synonyms, axis=1) @ writes / table.synonyms
        written[of_place] = table.writes[rule[of_place], place]
    return written, outer, law


# ---------------------------------------------------------------------- answers


def _means(truths: np.ndarray, posterior: np.ndarray, prior: np.ndarray) -> tuple[float, ...]:
    """Accuracy, probability of the truth, entropy, and variances of the one-hot symbol with and without evidence."""
    # The best guess is right with its own probability, and the square error is what the posterior says it is: the mean
    # over truths is the same, and fluctuates less.
    safe = np.where(posterior > 0, posterior, 1.0)
    return (
        float(posterior.max(axis=1).mean()),
        float(posterior[np.arange(len(truths)), truths].mean()),
        float(-(posterior * np.log2(safe)).sum(axis=1).mean()),
        float(1 - (posterior**2).sum(axis=1).mean()),
        float(1 - (prior**2).sum(axis=1).mean()),
    )


def _summary(found: np.ndarray, shares: np.ndarray, heights: np.ndarray) -> DensityEvolution:
    # Sums of probabilities miss 1 by rounding: variances below that are none.
    left, whole = (np.where(variance > 1e-12, variance, 0.0) for variance in (found[..., 3], found[..., 4]))
    r2 = 1 - np.divide(left, whole, out=np.full_like(left, np.nan), where=whole > 0)
    return DensityEvolution(
        masked_shares=shares,
        heights=heights,
        accuracy=_over_populations(found[..., 0]),
        truth=_over_populations(found[..., 1]),
        r2=_over_populations(r2),
        entropy=_over_populations(found[..., 2]),
    )


def _over_populations(values: Float[np.ndarray, "n_populations n_shares n_heights"]) -> Answers:
    count = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(count)
    return Answers(value=values.mean(axis=0), error=error, how="estimated", rows=count)
