// Masking units: which observed variables are masked together, as hlvm.masking.Patches has them.

/** Every observed variable by itself. */
export function cellsOf(graph) {
  const of = identity(graph.nObserved);
  const words = graph.grid ? "one cell" : "one variable";
  return { key: "cells", words, python: null, of, n: of.length, groups: of.map((cell) => [cell]) };
}

/** All units of a graph: cells, square blocks that divide the grid, and subtrees that partition what is observed. */
export function unitsOf(graph, cells) {
  const found = [cells],
    seen = new Set([cells.of.join()]);
  const add = (unit) => {
    const name = unit && numbered(unit.of).join();
    if (unit && !seen.has(name) && Math.max(...unit.of) > 0) {
      seen.add(name);
      found.push(unit);
    }
  };
  if (graph.grid) {
    for (let side = 2; side <= Math.min(...graph.grid); side++) add(blocks(graph, side));
  }
  for (const height of graph.levels) add(subtrees(graph, height));
  for (const unit of found.slice(1)) {
    unit.n = Math.max(...unit.of) + 1;
    unit.groups = Array.from({ length: unit.n }, () => []);
    unit.of.forEach((patch, cell) => unit.groups[patch].push(cell));
  }
  return found;
}

/** The same parts, numbered in the order in which they occur, so that equal partitions look alike. */
function numbered(of) {
  const numbers = new Map();
  return of.map((patch) => {
    if (!numbers.has(patch)) numbers.set(patch, numbers.size);
    return numbers.get(patch);
  });
}

function identity(n) {
  return Array.from({ length: n }, (_, i) => i);
}

function blocks(graph, side) {
  const [rows, columns] = graph.grid;
  if (rows % side || columns % side) return null;
  const of = identity(rows * columns).map((i) => {
    const [r, c] = [Math.floor(i / columns), i % columns];
    return Math.floor(r / side) * (columns / side) + Math.floor(c / side);
  });
  return { key: `blocks-${side}`, words: `${side} × ${side} cells`, python: `Patches.blocks(graph, ${side})`, of };
}

function subtrees(graph, height) {
  const of = Array(graph.nObserved).fill(-1);
  let patch = 0;
  for (let u = 0; u < graph.nLatents; u++) {
    if (graph.heights[u] !== height) continue;
    for (const cell of graph.observedBelow(u)) {
      if (of[cell] >= 0) return null;
      of[cell] = patch;
    }
    patch++;
  }
  if (of.includes(-1)) return null;
  return {
    key: `subtrees-${height}`,
    words: `subtrees of height ${height}`,
    python: `Patches.of_subtrees(graph, ${height})`,
    of,
  };
}
