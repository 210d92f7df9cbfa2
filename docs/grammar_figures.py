"""Contact sheets of grammar images, drawn by the package when the pages are built."""

from pathlib import Path

import jax
import numpy as np

from hlvm.images import GrammarImages, contact_sheet, save_png

PER_CLASS = 6


def draw_all(folder: Path) -> None:
    """Write every sheet into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("grammar_classes", classes), ("grammar_exchange", exchange), ("grammar_strips", strips)):
        save_png(folder / f"{name}.png", draw())


def _squares() -> GrammarImages:
    return GrammarImages.init(jax.random.key(0), n_symbols=8, n_classes=4, n_synonyms=3, n_levels=3)


def classes() -> np.ndarray:
    """One class in each row."""
    labels = np.repeat(np.arange(4), PER_CLASS)
    return contact_sheet(
        _squares().sample(jax.random.key(1), len(labels), labels=labels).images, columns=PER_CLASS, pad=4
    )


def exchange() -> np.ndarray:
    """An image, the same with all synonyms of each level exchanged, and with that of one node."""
    grammar = _squares()
    before = grammar.derive(jax.random.key(2), 1)
    key = jax.random.key(3)
    rows = {"as drawn": before}
    rows |= {f"level {level}": grammar.exchange_synonyms(key, before, level) for level in (1, 2, 3)}
    one = np.zeros((2, 2), dtype=bool)
    one[0, 1] = True
    rows["one of level 2"] = grammar.exchange_synonyms(key, before, 2, one)
    images = np.concatenate([grammar.render(row.cells) for row in rows.values()])
    return contact_sheet(images, columns=len(rows), pad=5, captions=list(rows), scale=2)


def strips() -> np.ndarray:
    """Strings of pairs, one class in each row."""
    grammar = GrammarImages.init(jax.random.key(0), n_symbols=6, n_classes=3, n_synonyms=3, n_levels=4, tuple_size=2)
    labels = np.repeat(np.arange(3), 2)
    return contact_sheet(grammar.sample(jax.random.key(1), 6, labels=labels).images, columns=2, pad=3, scale=3)
