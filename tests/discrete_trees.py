"""The law of a discrete tree by enumeration: every way to write it, from its tables alone."""

import numpy as np


def enumerate_tree(graph, *, n_symbols, rules, probabilities=None, priors=None, channels=None, values=None):
    """Every way a tree can come about: a list of (symbol by name, choice by latent, probability)."""
    probabilities, priors, channels = probabilities or {}, priors or {}, channels or {}
    ways = [({}, {}, {}, 1.0)]  # symbols, choices, what was written for the variables below, probability
    for name in graph.nodes:
        grown = []
        for symbols, choices, written, chance in ways:
            if name in written:
                channel = channels.get(name, np.eye(n_symbols[name]))
                law = channel[written[name]]
            else:
                law = priors.get(name, np.full(n_symbols[name], 1 / n_symbols[name]))
            assert len(law) == n_symbols[name]
            for symbol in np.flatnonzero(law).tolist():
                if name in rules:
                    table = rules[name]
                    chosen = probabilities.get(name, np.full(table.shape[:2], 1 / table.shape[1]))[symbol]
                    for choice in np.flatnonzero(chosen).tolist():
                        below = dict(zip(graph.children(name), table[symbol, choice].tolist(), strict=True))
                        state = {**symbols, name: symbol}, {**choices, name: choice}, {**written, **below}
                        grown.append((*state, chance * law[symbol] * chosen[choice]))
                else:
                    grown.append(({**symbols, name: symbol}, choices, written, chance * law[symbol]))
        ways = grown
    return [(symbols, choices, chance) for symbols, choices, _, chance in ways]


def law_of(ways, names):
    """Probability of every combination of symbols at some variables."""
    found = {}
    for symbols, _, chance in ways:
        place = tuple(symbols[name] for name in names)
        found[place] = found.get(place, 0.0) + chance
    return found


def counted(rows):
    """How often each row occurs."""
    found = {}
    for row in np.asarray(rows).tolist():
        found[tuple(row)] = found.get(tuple(row), 0) + 1
    return found
