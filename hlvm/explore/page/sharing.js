// Shared information of one mask, by the definitions of section 2 of docs/theory.md.
// A mask is a Uint8Array over the observed variables, 1 = masked. Sides are the same with 1 = source, 2 = sink.
import { UsageError } from "./python.js";
import { minimumCut } from "./flow.js";

/** Refuse a regime that the dims do not allow. */
export function checkRegime(graph, regime) {
  const problem = regime === "invertible" ? graph.invertibleDimsError : null;
  if (problem !== null) {
    throw new UsageError(
      `these dims do not allow the invertible regime (${problem}): use regime="general", or build the graph with ` +
        "dims=None, which takes the dims that invertible mechanisms imply",
    );
  }
}

/** Refuse a mask with an empty side. */
export function checkMask(graph, mask) {
  const masked = mask.reduce((total, hidden) => total + hidden, 0);
  if (masked && masked < graph.nObserved) return;
  const problem = masked ? "everything is masked, so nothing is visible" : "nothing is masked";
  const remedy =
    graph.nObserved === 1
      ? "a mask needs a graph with at least 2 observed variables, this one has 1"
      : `mask at least 1 and at most ${graph.nObserved - 1} of the ${graph.nObserved} observed variables`;
  throw new UsageError(`${problem}: ${remedy}`);
}

/** Members, frontier and dim of the shared information, and whether it is unique. Latents are positions. */
export function sharedInformation(graph, mask, regime) {
  checkRegime(graph, regime);
  checkMask(graph, mask);
  let nearMasked, nearVisible;
  if (regime === "invertible") nearMasked = nearVisible = commonAncestors(graph, mask);
  else
    ({ nearSources: nearMasked, nearSinks: nearVisible } = leastCuts(
      graph,
      mask.map((hidden) => (hidden ? 1 : 2)),
    ));
  const inside = new Set(nearMasked);
  const sizes = regime === "invertible" ? graph.noiseDims : graph.dims;
  return {
    members: nearMasked,
    frontier: nearMasked.filter((u) => !graph.children[u].some((child) => inside.has(child))),
    dim: nearMasked.reduce((total, u) => total + BigInt(sizes[u]), 0n),
    unique: nearMasked.length === nearVisible.length && nearVisible.every((u) => inside.has(u)),
    nearVisible,
  };
}

/** Latents with a masked and a visible descendant. */
export function commonAncestors(graph, mask) {
  const sides = new Uint8Array(graph.n);
  for (let u = graph.n - 1; u >= 0; u--) {
    if (u >= graph.nLatents) sides[u] = mask[u - graph.nLatents] ? 1 : 2;
    for (const parent of graph.parents[u]) sides[parent] |= sides[u];
  }
  const found = [];
  for (let u = 0; u < graph.nLatents; u++) if (sides[u] === 3) found.push(u);
  return found;
}

/** The least-dims separators nearest the sources and nearest the sinks. */
export function leastCuts(graph, sides) {
  return graph.isForest ? treeCuts(graph, sides) : minimumCut(graph, sides);
}

// ---------------------------------------------------------------------- one target at a time

/** For each masked variable, the lowest latents that it shares with the visible part; one set per set of parents. */
export function* targetAncestors(graph, mask, regime) {
  const byParents = new Map();
  const visible = mask.map((hidden) => (hidden ? 0 : 2));
  const hasVisible = regime === "invertible" ? reaches(graph, visible) : null;
  for (let target = 0; target < graph.nObserved; target++) {
    if (!mask[target]) continue;
    const above = graph.parents[graph.nLatents + target];
    const key = [...above].sort((a, b) => a - b).join();
    if (!byParents.has(key)) {
      if (regime === "invertible") byParents.set(key, frontierAbove(graph, above, hasVisible));
      else {
        const sides = visible.slice();
        sides[target] = 1;
        byParents.set(key, leastCuts(graph, sides).nearSinks);
        yield null; // a cut may take long: let others have their turn
      }
    }
    yield { target, latents: byParents.get(key) };
  }
}

function reaches(graph, sides) {
  const found = new Uint8Array(graph.n);
  for (let u = graph.n - 1; u >= 0; u--) {
    if (u >= graph.nLatents) found[u] = sides[u - graph.nLatents] ? 1 : 0;
    for (const parent of graph.parents[u]) found[parent] |= found[u];
  }
  return found;
}

function frontierAbove(graph, above, hasVisible) {
  const common = [...new Set([...above, ...graph.ancestors(above)])].filter((u) => hasVisible[u]).sort((a, b) => a - b);
  const higher = new Set(common.flatMap((u) => graph.parents[u]));
  return common.filter((u) => !higher.has(u));
}

// ---------------------------------------------------------------------- trees

const SOURCE = 0,
  SINK = 1,
  CUT = 2;

/** Three states per latent of a forest: costs go up, the states that some least cut has come down. */
function treeCuts(graph, sides) {
  const { nLatents: n, parents, children, dims } = graph;
  const never = dims.slice(0, n).reduce((total, dim) => total + dim, 1);
  if (never * graph.n >= 2 ** 53) {
    throw new UsageError(
      "the latents' dims are too large for this page: use smaller dims (a common factor does not change the separator)",
    );
  }
  const costs = Array.from({ length: 3 }, () => new Float64Array(n));
  for (let u = n - 1; u >= 0; u--) {
    costs[CUT][u] += dims[u];
    for (const child of children[u]) {
      if (child < n) continue;
      if (sides[child - n] === 2) costs[SOURCE][u] = Math.max(costs[SOURCE][u], never);
      if (sides[child - n] === 1) costs[SINK][u] = Math.max(costs[SINK][u], never);
    }
    let source = costs[SOURCE][u],
      sink = costs[SINK][u];
    for (const child of children[u]) {
      if (child >= n) continue;
      source += Math.min(costs[SOURCE][child], costs[CUT][child]);
      sink += Math.min(costs[SINK][child], costs[CUT][child]);
      costs[CUT][u] += Math.min(costs[SOURCE][child], costs[CUT][child], costs[SINK][child]);
    }
    [costs[SOURCE][u], costs[SINK][u]] = [source, sink];
  }
  const possible = Array.from({ length: 3 }, () => new Uint8Array(n));
  const nearSources = [],
    nearSinks = [];
  for (let u = 0; u < n; u++) {
    const own = costs.map((table) => table[u]);
    const besides = [Math.min(own[SOURCE], own[CUT]), Math.min(own[SINK], own[CUT]), Math.min(...own)];
    const parent = parents[u].length ? parents[u][0] : -1;
    for (const state of [SOURCE, SINK, CUT]) {
      possible[state][u] =
        parent < 0
          ? own[state] === besides[CUT]
          : [SOURCE, SINK, CUT].some(
              (above) => possible[above][parent] && state + above !== SOURCE + SINK && own[state] === besides[above],
            );
    }
    if (possible[CUT][u] && !possible[SINK][u]) nearSources.push(u);
    if (possible[CUT][u] && !possible[SOURCE][u]) nearSinks.push(u);
  }
  return { nearSources, nearSinks };
}
