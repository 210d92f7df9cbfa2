// Latent graphs: the same order of variables, dims and heights as hlvm.graph.LatentGraph has.
import { UsageError, repr } from "./python.js";
import {
  argumentsOfText,
  checkedDim,
  checkedEdges,
  checkedObserved,
  fault,
  perNode,
  placedCells,
  topologicalOrder,
} from "./checks.js";

/** A frozen graph; variables are positions in `names`, latents first, each after its parents. */
export class Graph {
  constructor(names, parents, dims, noiseDims, grid) {
    Object.assign(this, { names, parents, dims, noiseDims, grid });
    this.n = names.length;
    this.children = names.map(() => []);
    parents.forEach((above, child) => above.forEach((parent) => this.children[parent].push(child)));
    this.nLatents = 1 + parents.reduce((most, above) => Math.max(most, ...above), -1);
    this.nObserved = this.n - this.nLatents;
    this.isForest = parents.every((above) => above.length <= 1);
    this.heights = new Int32Array(this.n);
    for (let u = this.n - 1; u >= 0; u--) {
      for (const parent of parents[u]) this.heights[parent] = Math.max(this.heights[parent], this.heights[u] + 1);
    }
    this.index = new Map(names.map((name, i) => [name, i]));
  }

  get latents() {
    return this.names.slice(0, this.nLatents);
  }

  get observed() {
    return this.names.slice(this.nLatents);
  }

  /** Heights that latents have, increasing. */
  get levels() {
    return [...new Set(this.heights.slice(0, this.nLatents))].sort((a, b) => a - b);
  }

  /** Per variable, bits of the observed variables at or below it, 32 to a word. */
  get below() {
    const words = Math.ceil(this.nObserved / 32);
    const found = Array.from({ length: this.n }, () => new Uint32Array(words));
    for (let u = this.n - 1; u >= 0; u--) {
      if (u >= this.nLatents) found[u][(u - this.nLatents) >> 5] |= 1 << ((u - this.nLatents) & 31);
      for (const parent of this.parents[u]) for (let i = 0; i < words; i++) found[parent][i] |= found[u][i];
    }
    Object.defineProperty(this, "below", { value: found });
    return found;
  }

  /** Places, among the observed variables, of those at or below a variable. */
  observedBelow(u) {
    const bits = this.below[u],
      found = [];
    for (let i = 0; i < this.nObserved; i++) if ((bits[i >> 5] >>> (i & 31)) & 1) found.push(i);
    return found;
  }

  /** All proper ancestors of some variables. */
  ancestors(some) {
    const found = new Set(),
      waiting = some.flatMap((u) => this.parents[u]);
    while (waiting.length) {
      const u = waiting.pop();
      if (!found.has(u)) {
        found.add(u);
        waiting.push(...this.parents[u]);
      }
    }
    return found;
  }

  /** Why no invertible mechanism fits these dims, or null. */
  get invertibleDimsError() {
    for (let u = 0; u < this.n; u++) {
      const implied = this.noiseDims[u] + this.parents[u].reduce((total, parent) => total + this.dims[parent], 0);
      if (this.dims[u] !== implied) {
        return (
          `${repr(this.names[u])} has dim ${this.dims[u]}, but an invertible mechanism there needs ` +
          `${implied} = its parents' dims + its noise dim ${this.noiseDims[u]}`
        );
      }
    }
    return null;
  }

  /** The short description of hlvm.graph.LatentGraph.from_dict that gives this graph, as plain values. */
  get description() {
    const edges = this.parents.flatMap((above, child) =>
      above.map((parent) => [this.names[parent], this.names[child]]),
    );
    const found = { edges, observed: this.observed };
    const same = (numbers) => numbers.every((number) => number === numbers[0]);
    const byName = (numbers) => Object.fromEntries(this.names.map((name, i) => [name, numbers[i]]));
    if (this.invertibleDimsError === null) {
      found.noise_dims = same(this.noiseDims) ? this.noiseDims[0] : byName(this.noiseDims);
    } else {
      found.noise_dims = byName(this.noiseDims);
      found.dims = byName(this.dims);
    }
    if (this.grid) {
      delete found.observed;
      found.grid = Array.from({ length: this.grid[0] }, (_, r) =>
        this.observed.slice(r * this.grid[1], (r + 1) * this.grid[1]),
      );
    }
    return found;
  }
}

/** Read a graph from JSON as hlvm.graph.LatentGraph.load does; `name` is what messages call the file. */
export function graphOfText(text, name) {
  const { given, names } = argumentsOfText(text, name);
  try {
    const graph = fromEdges(given);
    return names === null ? graph : reordered(graph, names);
  } catch (error) {
    throw fault(name, error);
  }
}

/** Build a graph as LatentGraph.from_edges does. */
export function fromEdges({ edges, noiseDims = 1n, dims = null, observed = null, grid = null }) {
  const order = new Set(),
    above = new Map(),
    below = new Map();
  const push = (map, key, value) => (map.has(key) ? map.get(key).push(value) : map.set(key, [value]));
  for (const [parent, child] of checkedEdges(edges)) {
    order.add(parent).add(child);
    push(above, child, parent);
    push(below, parent, child);
  }
  const sinks = checkedObserved(
    [...order].filter((name) => !below.has(name)),
    observed,
    order,
    below,
  );
  const placed = placedCells(grid, sinks, observed !== null);
  const names = topologicalOrder([...order], above, below, placed.names);
  const position = new Map(names.map((name, i) => [name, i]));
  const parents = names.map((name) => (above.get(name) ?? []).map((parent) => position.get(parent)));
  let noise = perNode(noiseDims, names, "noise_dims", 0n);
  let sizes = [];
  if (dims === null) {
    names.forEach((name, u) => {
      if (!parents[u].length && noise[u] < 1n) {
        throw new UsageError(`the root ${repr(name)} has noise_dims=0: a root is its own noise, so give it at least 1`);
      }
      sizes.push(
        checkedDim(
          parents[u].reduce((total, parent) => total + sizes[parent], noise[u]),
          repr(name),
        ),
      );
    });
  } else {
    sizes = perNode(dims, names, "dims", 1n);
    noise = noise.map((own, u) => (parents[u].length ? own : sizes[u]));
  }
  return new Graph(names, parents, sizes.map(Number), noise.map(Number), placed.size);
}

/** The same graph with its variables in another order, or unchanged if that order is not topological. */
function reordered(graph, names) {
  const position = new Map(names.map((name, i) => [name, i]));
  const old = names.map((name) => graph.index.get(name));
  const parents = old.map((u) => graph.parents[u].map((parent) => position.get(graph.names[parent])));
  const inOrder = parents.every((above, i) => above.every((parent) => parent < i));
  if (!inOrder || graph.observed.some((name, i) => names[graph.nLatents + i] !== name)) return graph;
  return new Graph(
    names,
    parents,
    old.map((u) => graph.dims[u]),
    old.map((u) => graph.noiseDims[u]),
    graph.grid,
  );
}

/** The quadtree of LatentGraph.quadtree, with 2 dims at the root and 1 of noise elsewhere. */
export function quadtree(height) {
  const names = [],
    parents = [],
    dims = [],
    noise = [];
  let start = 0;
  for (let depth = 0; depth <= height; depth++) {
    const side = 2 ** depth,
      above = start - (side / 2) ** 2;
    const prefix = depth === height ? "x_" : `z${height - depth}_`;
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) {
        names.push(`${prefix}${r}_${c}`);
        parents.push(depth ? [above + (r >> 1) * (side / 2) + (c >> 1)] : []);
        dims.push(2 + depth);
        noise.push(depth ? 1 : 2);
      }
    }
    start += side * side;
  }
  return new Graph(names, parents, dims, noise, [2 ** height, 2 ** height]);
}
