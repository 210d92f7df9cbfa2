// Places of variables in rows by height, parents near their children, with few crossings.

const SWEEPS = 8;

/** Places of all variables: x from 0 with neighbours of a row at least 1 apart, and the row (0 = observed). */
export function layered(graph) {
  const rows = [];
  for (let u = 0; u < graph.n; u++) (rows[graph.heights[u]] ??= []).push(u);
  const x = new Float64Array(graph.n);
  rows[0] = leavesInOrder(graph);
  spread(
    rows[0],
    x,
    rows[0].map((_, i) => i),
    1,
  );
  const roomy = (row) => Math.max(1, Math.min(2.5, (0.7 * rows[0].length) / row.length)); // so that names fit
  const mean = (some, otherwise) =>
    some.length ? some.reduce((total, u) => total + x[u], 0) / some.length : otherwise;
  const place = (row, neighbours) => {
    const wanted = new Map(row.map((u) => [u, mean(neighbours(u), x[u])]));
    row.sort((a, b) => wanted.get(a) - wanted.get(b) || a - b);
    spread(
      row,
      x,
      row.map((u) => wanted.get(u)),
      row === rows[0] ? 1 : roomy(row),
    );
  };
  const up = () => rows.slice(1).forEach((row) => place(row, (u) => graph.children[u]));
  up();
  if (!graph.isForest && graph.n <= 1500) {
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      rows
        .slice(0, -1)
        .reverse()
        .forEach((row) => place(row, (u) => graph.parents[u]));
      up();
    }
  }
  const least = x.reduce((a, b) => Math.min(a, b), Infinity);
  return { x: x.map((at) => at - least), rows, width: x.reduce((a, b) => Math.max(a, b), 0) - least };
}

/** Observed variables as a walk down from the roots meets them, so that trees have no crossings. */
function leavesInOrder(graph) {
  const found = [],
    seen = new Uint8Array(graph.n);
  const waiting = [];
  for (let u = graph.nLatents - 1; u >= 0; u--) if (!graph.parents[u].length) waiting.push(u);
  while (waiting.length) {
    const u = waiting.pop();
    if (seen[u]) continue;
    seen[u] = 1;
    if (u >= graph.nLatents) found.push(u);
    for (const child of [...graph.children[u]].reverse()) waiting.push(child);
  }
  return found;
}

/** The places nearest to the wanted ones that keep the order and a distance (pools of adjacent violators). */
function spread(row, x, wanted, distance) {
  const pools = [];
  wanted.forEach((at, i) => {
    pools.push({ sum: at - distance * i, count: 1 });
    while (pools.length > 1) {
      const last = pools.at(-1),
        before = pools.at(-2);
      if (before.sum / before.count <= last.sum / last.count) break;
      pools.pop();
      before.sum += last.sum;
      before.count += last.count;
    }
  });
  let i = 0;
  for (const pool of pools) for (let k = 0; k < pool.count; k++, i++) x[row[i]] = pool.sum / pool.count + distance * i;
}
