// Random masks of so many units: section 3 of docs/theory.md, as in hlvm/theory/random_masks.
import { leastCuts } from "./sharing.js";

/** Closed forms of the invertible regime for masks of m out of all units of one kind. */
export class Membership {
  constructor(graph, unit) {
    this.graph = graph;
    this.n = unit.n;
    this.reach = new Int32Array(graph.nLatents);
    this.groups = [];
    this.levels = graph.levels;
    const patches = patchBits(graph, unit);
    const count = (bits) => bits.reduce((total, word) => total + ones(word), 0);
    const reach = patches.map(count);
    for (let u = 0; u < graph.nLatents; u++) {
      this.reach[u] = reach[u];
      let sizes = graph.children[u].map((child) => reach[child]);
      if (reach[u] === 1) sizes = [1];
      else if (sizes.reduce((a, b) => a + b, 0) > reach[u])
        sizes = joined(graph.children[u].map((child) => patches[child])).map(count);
      this.groups.push(sizes.sort((a, b) => a - b));
    }
    this.logFactorial = new Float64Array(this.n + 1);
    for (let i = 1; i <= this.n; i++) this.logFactorial[i] = this.logFactorial[i - 1] + Math.log(i);
  }

  /** Probability of each latent to be shared. */
  members(m) {
    const memo = new Map();
    return Array.from(this.reach, (k) => {
      if (!memo.has(k)) {
        const apart = k === 1 ? 1 : Math.min(1, allAmong(k, this.n, this.n - m) + allAmong(k, this.n, m));
        memo.set(k, 1 - apart);
      }
      return memo.get(k);
    });
  }

  /** Probability of each latent to be in the frontier. */
  frontier(m) {
    const memo = new Map();
    return this.groups.map((sizes) => {
      const key = sizes.join();
      if (!memo.has(key)) memo.set(key, sizes.length > 1 ? this.frontierOf(sizes, m) : 0);
      return memo.get(key);
    });
  }

  frontierOf(sizes, m) {
    const ratio = m / this.n,
      choose = (n, k) => this.logFactorial[n] - this.logFactorial[k] - this.logFactorial[n - k];
    let ways = [1];
    for (const size of sizes) {
      const grown = new Float64Array(ways.length + size);
      const masked = ratio ** size,
        visible = (1 - ratio) ** size;
      ways.forEach((way, s) => {
        grown[s] += way * visible;
        grown[s + size] += way * masked;
      });
      ways = grown;
    }
    const k = ways.length - 1;
    let total = 0;
    for (let s = Math.max(1, m - (this.n - k)); s <= Math.min(k - 1, m); s++) {
      const others = choose(this.n - k, m - s) - choose(this.n, m);
      total += ways[s] * Math.exp(others - s * Math.log(ratio) - (k - s) * Math.log1p(-ratio));
    }
    return Math.min(1, Math.max(0, total));
  }

  /** Expected share and frontier share of the latents of each height, and expected dims of c. */
  profile(m) {
    const members = this.members(m),
      frontier = this.frontier(m);
    return {
      share: this.byHeight(members),
      frontierShare: this.byHeight(frontier),
      dim: members.reduce((total, p, u) => total + p * this.graph.noiseDims[u], 0),
    };
  }

  /** Means of numbers of latents, per height. */
  byHeight(numbers) {
    return this.levels.map((height) => {
      const own = numbers.filter((_, u) => this.graph.heights[u] === height);
      return own.reduce((total, x) => total + x, 0) / own.length;
    });
  }
}

function ones(word) {
  let count = 0;
  for (; word; word &= word - 1) count++;
  return count;
}

function patchBits(graph, unit) {
  const words = Math.ceil(unit.n / 32);
  const found = Array.from({ length: graph.n }, () => new Uint32Array(words));
  for (let u = graph.n - 1; u >= 0; u--) {
    if (u >= graph.nLatents) {
      const patch = unit.of[u - graph.nLatents];
      found[u][patch >> 5] |= 1 << (patch & 31);
    }
    for (const parent of graph.parents[u]) for (let i = 0; i < words; i++) found[parent][i] |= found[u][i];
  }
  return found;
}

/** Unions of sets that overlap, directly or through others. */
function joined(sets) {
  let groups = [];
  for (const bits of sets) {
    const union = bits.slice(),
      apart = [];
    for (const group of groups) {
      if (group.some((word, i) => word & union[i])) group.forEach((word, i) => (union[i] |= word));
      else apart.push(group);
    }
    groups = [...apart, union];
  }
  return groups;
}

/** Probability that k given units all lie among m of n drawn at random. */
function allAmong(k, n, m) {
  let product = 1;
  for (let i = 0; i < k && product; i++) product *= Math.max(m - i, 0) / (n - i);
  return product;
}

// ---------------------------------------------------------------------- general regime

/** Average over drawn masks, some at a time: yields {share, error, dim, dimError, nMasks} as it goes on. */
export function* drawnProfile(graph, unit, m, nMasks, random = seeded(1)) {
  const levels = graph.levels,
    heights = graph.heights,
    count = new Map(levels.map((height) => [height, 0]));
  for (let u = 0; u < graph.nLatents; u++) count.set(heights[u], count.get(heights[u]) + 1);
  const sums = levels.map(() => 0),
    squares = levels.map(() => 0);
  let dims = 0,
    dimSquares = 0;
  for (let drawn = 1; drawn <= nMasks; drawn++) {
    const sides = drawMask(unit, m, random).map((hidden) => (hidden ? 1 : 2));
    const members = leastCuts(graph, sides).nearSources;
    const dim = members.reduce((total, u) => total + graph.dims[u], 0);
    levels.forEach((height, i) => {
      const share = members.filter((u) => heights[u] === height).length / count.get(height);
      sums[i] += share;
      squares[i] += share * share;
    });
    dims += dim;
    dimSquares += dim * dim;
    const error = (sum, square) =>
      drawn > 1 ? Math.sqrt(Math.max(0, square - (sum * sum) / drawn) / (drawn - 1) / drawn) : NaN;
    yield () => ({
      share: sums.map((sum) => sum / drawn),
      error: sums.map((sum, i) => error(sum, squares[i])),
      dim: dims / drawn,
      dimError: error(dims, dimSquares),
      nMasks: drawn,
    });
  }
}

/** A mask of m units drawn at random, over the observed variables. */
export function drawMask(unit, m, random = Math.random) {
  const order = Array.from({ length: unit.n }, (_, i) => i);
  for (let i = 0; i < m; i++) {
    const j = i + Math.floor(random() * (unit.n - i));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const mask = new Uint8Array(unit.of.length);
  for (const patch of order.slice(0, m)) for (const cell of unit.groups[patch]) mask[cell] = 1;
  return mask;
}

/** Numbers in [0, 1) that are the same each time (mulberry32). */
export function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
