// Checks of what a graph is made from, in the order and the words of hlvm/graph/checks.py and hlvm/graph/files.py.
import {
  NotJson,
  UsageError,
  byCodePoints,
  canonicalJson,
  pairRepr,
  parseJson,
  repr,
  sha256,
  typeName,
} from "./python.js";

const LARGEST_DIM = 2n ** 53n - 1n;
const FULL_FIELDS = ["format", "grid", "nodes", "version"];
const ROW_FIELDS = ["dim", "name", "noise_dim", "parents"];
const SHORT_FIELDS = ["dims", "edges", "grid", "noise_dims", "observed"];

const fail = (message) => {
  throw new UsageError(message);
};

// ---------------------------------------------------------------------- files

/** The arguments of LatentGraph.from_edges that a JSON text stands for, with the order of the nodes, or null. */
export function argumentsOfText(text, name) {
  try {
    return argumentsOf(checkOwnDigest(parseJson(text.replace(/^\ufeff/, ""))));
  } catch (error) {
    throw fault(name, error);
  }
}

/** A file's fault in one line with its name. */
export function fault(name, error) {
  if (!(error instanceof UsageError)) return error;
  const what = error instanceof NotJson ? `${name} is not a JSON graph file` : name;
  return new UsageError(`${what}: ${error.message.split(/\s+/).filter(Boolean).join(" ")}`);
}

function checkOwnDigest(content) {
  if (!(content instanceof Map)) return content;
  const plain = new Map([...content].filter(([key]) => key !== "digest"));
  const nameless = [...plain.values()].some((value) => typeof value === "string" && value.startsWith("sha256:"));
  const told = content.get("digest") ?? null;
  if (nameless || (told !== null && told !== `sha256:${sha256(canonicalJson(plain))}`)) {
    fail('its content is not what its digest says; if it was edited by hand, take "digest" out');
  }
  return plain;
}

function argumentsOf(data) {
  if (!(data instanceof Map)) fail(`a graph description is a JSON object, got ${typeName(data)}`);
  if (data.has("edges")) return { given: ofShortForm(data), names: null };
  if (data.get("format") !== "hlvm.graph") {
    fail('not a graph description: expected "edges", or "format": "hlvm.graph" with "nodes"');
  }
  const version = data.get("version");
  if (version !== 1n && version !== 1 && version !== true) {
    fail(`graph format version ${repr(version)} is not known here (expected 1)`);
  }
  checkFields(data, FULL_FIELDS);
  const rows = checkedRows(data.get("nodes"));
  const names = rows.map((row) => row.get("name"));
  const edges = rows.flatMap((row) => row.get("parents").map((parent) => [parent, row.get("name")]));
  const connected = new Set(edges.flat());
  const bare = names.find((name) => !connected.has(name));
  if (bare !== undefined) fail(`malformed graph description: ${repr(bare)} has neither parents nor children`);
  const listed = new Set(names);
  const unlisted = [...connected].find((name) => !listed.has(name));
  if (unlisted !== undefined) {
    fail(`malformed graph description: the parent ${repr(unlisted)} is not listed as a node`);
  }
  const hasChild = new Set(edges.map(([parent]) => parent));
  const observed = names.filter((name) => !hasChild.has(name));
  const given = {
    edges,
    noiseDims: new Map(rows.map((row) => [row.get("name"), row.get("noise_dim")])),
    dims: new Map(rows.map((row) => [row.get("name"), row.get("dim")])),
    observed,
    grid: rowsOfNames(data.get("grid"), observed),
  };
  return { given, names };
}

function checkedRows(rows) {
  if (!Array.isArray(rows)) {
    fail(`malformed graph description: "nodes" must be a list of nodes, got ${typeName(rows ?? null)}`);
  }
  const seen = new Set();
  for (const row of rows) {
    if (!(row instanceof Map) || ROW_FIELDS.some((field) => !row.has(field))) {
      fail(`malformed graph description: each node needs name, dim, noise_dim and parents, got ${short(row)}`);
    }
    checkFields(row, ROW_FIELDS);
    const name = row.get("name"),
      parents = row.get("parents");
    if (typeof name !== "string" || !name) {
      fail(`malformed graph description: a name is a non-empty string, got ${short(name)}`);
    }
    if (seen.has(name)) fail(`malformed graph description: a node is listed twice: ${repr(name)}`);
    seen.add(name);
    if (!Array.isArray(parents) || parents.some((parent) => typeof parent !== "string")) {
      fail(`malformed graph description: parents of ${repr(name)} must be a list of names`);
    }
  }
  return rows;
}

function ofShortForm(data) {
  checkFields(data, SHORT_FIELDS);
  const edges = data.get("edges"),
    observed = data.get("observed") ?? null;
  if (observed !== null && !(Array.isArray(observed) && observed.every((name) => typeof name === "string"))) {
    fail(`"observed" must be a list of names, got ${short(observed)}`);
  }
  if (!Array.isArray(edges)) fail(`"edges" must be a list of [parent, child] pairs, got ${short(edges)}`);
  const noiseDims = data.has("noise_dims") ? data.get("noise_dims") : 1n;
  return { edges, noiseDims, dims: data.get("dims") ?? null, observed, grid: data.get("grid") ?? null };
}

function checkFields(data, known) {
  const unknown = [...data.keys()].filter((key) => !known.includes(key)).sort(byCodePoints);
  if (unknown.length) fail(`unknown graph fields ${repr(unknown)}; known: ${repr(known)}`);
}

function short(value) {
  const shown = Array.from(repr(value));
  return shown.length <= 60 ? shown.join("") : `${shown.slice(0, 57).join("")}...`;
}

// ---------------------------------------------------------------------- numbers and names

/** The first few names that there are, for error messages. */
export function someNames(names, limit = 6) {
  const shown = names.slice(0, limit).map(repr).join(", ");
  return `known names: ${shown}${names.length > limit ? `, ... (${names.length} in all)` : ""}`;
}

function wholeNumber(value, what, minimum) {
  if (typeof value !== "bigint" || value < minimum) {
    fail(`${what} must be a whole number of at least ${minimum}, got ${repr(value)}`);
  }
  return value;
}

/** A dim that is not too large for exact sums. */
export function checkedDim(value, what) {
  if (value > LARGEST_DIM) {
    fail(`${what} would have ${value} dims, more than 2**53 - 1: use smaller dims or a lower graph`);
  }
  return value;
}

/** One whole number per node, from one for all or one for each name. */
export function perNode(value, names, what, minimum) {
  if (!(value instanceof Map)) {
    return Array(names.length).fill(checkedDim(wholeNumber(value, what, minimum), "a variable"));
  }
  const known = new Set(names);
  const unknown = [...value.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) {
    fail(`${what} names ${repr(unknown)}, which is not a variable of this graph; ${someNames(names)}`);
  }
  const missing = names.find((name) => !value.has(name));
  if (missing !== undefined) {
    fail(`${what} has no entry for ${repr(missing)}: give one number for all, or one for every name`);
  }
  return names.map((name) => checkedDim(wholeNumber(value.get(name), `${what}[${repr(name)}]`, minimum), repr(name)));
}

// ---------------------------------------------------------------------- edges

/** Edges of which none is a loop or listed twice. */
export function checkedEdges(edges) {
  const seen = new Map();
  for (const edge of edges) {
    if (!Array.isArray(edge) || edge.length !== 2)
      fail(`an edge is a (parent, child) pair of names, got ${repr(edge)}`);
    for (const name of edge) {
      if (typeof name !== "string" || !name) {
        fail(`a variable's name is a non-empty string, got ${repr(name)} in edge ${repr(edge)}`);
      }
    }
    const [parent, child] = edge;
    if (parent === child) fail(`${repr(parent)} is its own parent: remove the edge ${pairRepr(parent, child)}`);
    if (!seen.has(parent)) seen.set(parent, new Set());
    if (seen.get(parent).has(child)) fail(`the edge ${pairRepr(parent, child)} is listed twice: list each edge once`);
    seen.get(parent).add(child);
  }
  if (!edges.length) fail("a latent graph needs at least one edge from a latent to an observed variable");
  return edges;
}

/** The sinks in the order asked for. */
export function checkedObserved(sinks, observed, known, children) {
  if (observed === null) return sinks;
  const given = new Set(observed);
  if (given.size !== observed.length) fail("observed lists a name twice");
  for (const name of observed) {
    if (!known.has(name)) fail(`observed variable ${repr(name)} has no edge: connect it to a latent parent`);
    if (children.has(name)) {
      fail(
        `observed variable ${repr(name)} has the child ${repr(children.get(name)[0])}: observed variables are sinks; ` +
          "give both a common latent parent instead",
      );
    }
  }
  const missing = sinks.find((name) => !given.has(name));
  if (missing !== undefined) {
    fail(`${repr(missing)} has no children and is not listed as observed: every latent needs an observed descendant`);
  }
  return observed;
}

/** Kahn's algorithm over the latents in order of first appearance, then the observed variables. */
export function topologicalOrder(names, parents, children, sinks) {
  const last = new Set(sinks);
  const waiting = new Map(names.map((name) => [name, (parents.get(name) ?? []).length]));
  const order = names.filter((name) => waiting.get(name) === 0);
  for (let i = 0; i < order.length; i++) {
    for (const child of children.get(order[i]) ?? []) {
      waiting.set(child, waiting.get(child) - 1);
      if (waiting.get(child) === 0 && !last.has(child)) order.push(child);
    }
  }
  if (order.length + last.size < waiting.size || sinks.some((name) => waiting.get(name))) {
    fail(`the edges contain a cycle: ${findCycle(parents, waiting).join(" -> ")}`);
  }
  return [...order, ...sinks];
}

function findCycle(parents, waiting) {
  const stuck = new Set([...waiting].filter(([, count]) => count).map(([name]) => name));
  const path = [stuck.values().next().value];
  const seen = new Map([[path[0], 0]]);
  for (;;) {
    const above = parents.get(path.at(-1)).find((parent) => stuck.has(parent));
    if (seen.has(above)) return [...path.slice(seen.get(above)).reverse(), path.at(-1)];
    seen.set(above, path.length);
    path.push(above);
  }
}

// ---------------------------------------------------------------------- grids

function checkedGrid(grid, nObserved) {
  if (grid === null || grid === undefined) return null;
  if (!Array.isArray(grid) || grid.length !== 2) {
    fail(`grid must be (rows, columns), or a list of rows of names, got ${repr(grid)}`);
  }
  const [rows, columns] = grid.map((side) => wholeNumber(side, "grid side", 1));
  if (rows * columns !== BigInt(nObserved)) {
    fail(`grid ${rows} x ${columns} has ${rows * columns} cells, but there are ${nObserved} observed variables`);
  }
  return [Number(rows), Number(columns)];
}

function rowsOfNames(grid, names) {
  const size = checkedGrid(grid, names.length);
  if (size === null) return null;
  return Array.from({ length: size[0] }, (_, row) => names.slice(row * size[1], (row + 1) * size[1]));
}

/** Size of the grid, and the observed variables row by row. */
export function placedCells(grid, sinks, inThisOrder) {
  if (!isOfNames(grid)) {
    const size = checkedGrid(grid, sinks.length);
    if (size !== null) checkPlaces(sinks, size);
    return { size, names: sinks };
  }
  const lengths = grid.map((row) => row.length);
  if (new Set(lengths).size !== 1) {
    fail(`rows of a grid have equally many names, got [${lengths.slice(0, 8).join(", ")}]`);
  }
  const placed = grid.flat();
  const distinct = new Set();
  for (const name of placed) {
    if (distinct.has(name)) fail(`grid has ${repr(name)} in two cells: give every observed variable one`);
    distinct.add(name);
  }
  const known = new Set(sinks);
  const odd = [...placed.filter((name) => !known.has(name)), ...sinks.filter((name) => !distinct.has(name))];
  if (odd.length) {
    const words = odd.map((name) => (typeof name === "string" ? name : repr(name))).sort(byCodePoints);
    const what = distinct.has(words[0]) ? "names" : "leaves out";
    fail(`grid ${what} ${repr(words[0])}: its cells are the observed variables; ${someNames(sinks)}`);
  }
  if (inThisOrder && placed.some((name, i) => name !== sinks[i])) {
    fail("grid lists the observed variables in another order than observed: leave observed out");
  }
  return { size: [grid.length, grid[0].length], names: placed };
}

function isOfNames(grid) {
  return Array.isArray(grid) && grid.length > 0 && grid.every((row) => Array.isArray(row) && row.length > 0);
}

const PLACES = [
  /([0-9]+)[^0-9A-Za-z]+([0-9]+)[^0-9A-Za-z]*$/,
  /r(?:ow)?[^0-9A-Za-z]*([0-9]+)[^0-9A-Za-z]*c(?:ol(?:umn)?)?[^0-9A-Za-z]*([0-9]+)\n?$/i,
  /(?<![0-9])([0-9])([0-9])\n?$/,
  /(?<![0-9])([0-9]+)[^0-9A-Za-z]*$/,
];

/** Refuse cells whose names end in the numbers of another place than the one they have row by row. */
function checkPlaces(names, [rows, columns]) {
  const least = (numbers) => numbers.reduce((a, b) => (b < a ? b : a));
  const places = names.map((_, i) => [Math.floor(i / columns), i % columns]);
  for (const pattern of PLACES) {
    const matches = names.map((name) => pattern.exec(name));
    if (!matches.every(Boolean)) continue;
    let told = matches.map((found) => found.slice(1).map(Number));
    if (told[0].length === 1) {
      const first = least(told.map(([number]) => number));
      told = told.map(([number]) => [Math.floor((number - first) / columns), (number - first) % columns]);
    } else {
      const first = [0, 1].map((axis) => least(told.map((place) => place[axis])));
      told = told.map(([row, column]) => [row - first[0], column - first[1]]);
    }
    const keys = new Set(told.map(String)),
      expected = places.map(String);
    const turned = new Set(told.map(([row, column]) => String([column, row])));
    const all = (found) => found.size === expected.length && expected.every((place) => found.has(place));
    if (!all(keys) && !all(turned)) continue;
    const wrong = told.findIndex((place, i) => String(place) !== expected[i]);
    if (wrong < 0) return;
    fail(
      `the grid of ${rows} x ${columns} is filled row by row, in the order of the observed variables, so ` +
        `${repr(names[wrong])} would be in row ${places[wrong][0]}, column ${places[wrong][1]}, and its name tells ` +
        `otherwise: give the grid as rows of names, such as grid=[[${repr(names[0])}, ...], ...]`,
    );
  }
}
