// Least-dims separators on any DAG: minimum cuts of the moral graph of the ancestors (theory/one_mask/flow_cut.py).
import { UsageError } from "./python.js";

const LARGEST_CAPACITY = 2 ** 31 - 1;

/** The least-dims separators nearest the sources (1) and nearest the sinks (2) of `sides`. */
export function minimumCut(graph, sides) {
  const n = graph.nLatents;
  const relevant = new Uint8Array(graph.n),
    sourceParents = new Set(),
    sinkParents = new Set();
  for (let u = graph.n - 1; u >= 0; u--) {
    const side = u >= n ? sides[u - n] : 0;
    if (side) relevant[u] = 1;
    for (const parent of graph.parents[u]) {
      relevant[parent] |= relevant[u];
      if (side) (side === 1 ? sourceParents : sinkParents).add(parent);
    }
  }
  const cost = (some) => [...some].reduce((total, u) => total + graph.dims[u], 0);
  const unlimited = Math.min(cost(sourceParents), cost(sinkParents)) + 1;
  if (unlimited > LARGEST_CAPACITY) {
    throw new UsageError(
      `separating these variables may take ${unlimited - 1} dims, more than a 32-bit maximum flow can count: ` +
        "use smaller dims (a common factor does not change the separator)",
    );
  }
  const flow = new Flow(2 + 3 * n);
  const entrance = (u) => 2 + u,
    exit = (u) => 2 + n + u,
    hub = (u) => 2 + 2 * n + u;
  for (let u = 0; u < n; u++) {
    if (!relevant[u]) continue;
    flow.add(entrance(u), exit(u), Math.min(graph.dims[u], unlimited));
    const above = graph.parents[u];
    if (above.length === 1) {
      flow.add(exit(above[0]), entrance(u), unlimited);
      flow.add(exit(u), entrance(above[0]), unlimited);
    } else if (above.length) {
      for (const member of [...above, u]) {
        flow.add(exit(member), hub(u), unlimited);
        flow.add(hub(u), entrance(member), unlimited);
      }
    }
  }
  for (const u of sourceParents) flow.add(0, entrance(u), unlimited);
  for (const u of sinkParents) flow.add(exit(u), 1, unlimited);
  flow.fill();
  const before = flow.reachable(0, true),
    after = flow.reachable(1, false);
  const nearSources = [],
    nearSinks = [];
  for (let u = 0; u < n; u++) {
    if (!relevant[u]) continue;
    if (before[entrance(u)] && !before[exit(u)]) nearSources.push(u);
    if (!after[entrance(u)] && after[exit(u)]) nearSinks.push(u);
  }
  return { nearSources, nearSinks };
}

/** Maximum flow from node 0 to node 1 by Dinic's algorithm. An edge and its reverse are neighbours in the lists. */
class Flow {
  constructor(n) {
    this.edges = Array.from({ length: n }, () => []);
    this.ends = [];
    this.room = [];
  }

  add(begin, end, capacity) {
    this.edges[begin].push(this.ends.length);
    this.ends.push(end);
    this.room.push(capacity);
    this.edges[end].push(this.ends.length);
    this.ends.push(begin);
    this.room.push(0);
  }

  fill() {
    for (;;) {
      const level = this.levels();
      if (level[1] < 0) return;
      const next = new Int32Array(level.length);
      while (this.push(level, next));
    }
  }

  levels() {
    const level = new Int32Array(this.edges.length).fill(-1);
    const order = [0];
    level[0] = 0;
    for (let i = 0; i < order.length; i++) {
      for (const edge of this.edges[order[i]]) {
        const end = this.ends[edge];
        if (this.room[edge] && level[end] < 0) {
          level[end] = level[order[i]] + 1;
          order.push(end);
        }
      }
    }
    return level;
  }

  /** One more path along the levels; false if there is none. Without recursion, since chains can be long. */
  push(level, next) {
    const path = [];
    let at = 0;
    while (at !== 1) {
      const edges = this.edges[at];
      while (next[at] < edges.length) {
        const edge = edges[next[at]];
        if (this.room[edge] && level[this.ends[edge]] === level[at] + 1) break;
        next[at]++;
      }
      if (next[at] < edges.length) {
        path.push(edges[next[at]]);
        at = this.ends[path.at(-1)];
      } else if (path.length) {
        at = this.ends[path.pop() ^ 1];
        next[at]++;
      } else return false;
    }
    const most = Math.min(...path.map((edge) => this.room[edge]));
    for (const edge of path) {
      this.room[edge] -= most;
      this.room[edge ^ 1] += most;
    }
    return true;
  }

  /** Nodes that a node reaches in what room is left, or that reach it. */
  reachable(start, forwards) {
    const found = new Uint8Array(this.edges.length),
      waiting = [start];
    found[start] = 1;
    while (waiting.length) {
      for (const edge of this.edges[waiting.pop()]) {
        const end = this.ends[edge];
        if (this.room[forwards ? edge : edge ^ 1] && !found[end]) {
          found[end] = 1;
          waiting.push(end);
        }
      }
    }
    return found;
  }
}
