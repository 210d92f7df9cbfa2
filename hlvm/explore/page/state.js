// What is shown: a graph, a mask, a regime, a masking unit, latents to share; and the answers to it.
import { UsageError } from "./python.js";
import { graphOfText, quadtree } from "./graph.js";
import { sharedInformation, targetAncestors } from "./sharing.js";
import { cellsOf, unitsOf } from "./patches.js";
import { designMask } from "./design.js";
import { Membership, drawMask } from "./profile.js";

export const REGIMES = ["invertible", "general"];

/** The state of the page. Every change tells the listeners what changed: "graph", "mask", "question" or "target". */
export class Explorer {
  constructor(data) {
    this.entries = data.graphs;
    this.limit = data.limit;
    this.listeners = [];
    this.openKey(data.first);
  }

  /** Masking units, cells first; made when they are asked for. */
  get units() {
    return (this.allUnits ??= unitsOf(this.graph, this.unit));
  }

  changed(what) {
    for (const listener of this.listeners) listener(what);
  }

  // -------------------------------------------------------------------- graphs

  /** Open a graph of the menu. */
  openKey(key) {
    const entry = this.entries.find((one) => one.key === key);
    if (!entry) throw new UsageError(`no graph of the menu is called ${key}`);
    entry.made ??= entry.height ? quadtree(entry.height) : graphOfText(entry.graph, entry.name);
    this.show(entry);
  }

  /** Open a graph from JSON: a file of LatentGraph.save, or one written by hand. */
  openText(text, name) {
    const made = graphOfText(text, name);
    if (made.n > this.limit) {
      const count = (n) => n.toLocaleString("en-US");
      throw new UsageError(
        `the explorer draws graphs of at most ${count(this.limit)} variables, this one has ${count(made.n)}: ` +
          "use hlvm.theory, which takes graphs of any size",
      );
    }
    const entry = { key: "own", name, graph: text, made };
    this.entries = [...this.entries.filter((one) => one.key !== "own"), entry];
    this.show(entry);
  }

  show(entry) {
    this.entry = entry;
    this.graph = entry.made;
    this.unit = cellsOf(this.graph);
    this.allUnits = null;
    this.memberships = new Map();
    const possible = this.graph.invertibleDimsError === null;
    this.regime = possible ? (entry.regime ?? "invertible") : "general";
    this.target = new Set();
    this.m = Math.max(1, Math.round(this.unit.n / 2));
    this.mask = new Uint8Array(this.graph.nObserved);
    if (this.graph.nObserved > 1) this.mask[0] = 1;
    this.forget();
    this.changed("graph");
  }

  // -------------------------------------------------------------------- changes

  setMask(mask) {
    this.mask = Uint8Array.from(mask);
    this.forget();
    this.changed("mask");
  }

  /** Mask or unmask the unit that a cell is in. */
  paint(cell, hidden) {
    const mask = this.mask.slice();
    for (const other of this.unit.groups[this.unit.of[cell]]) mask[other] = hidden;
    if (mask.some((value, i) => value !== this.mask[i])) this.setMask(mask);
  }

  maskAtRandom() {
    if (this.unit.n > 1) this.setMask(drawMask(this.unit, this.m));
  }

  setRegime(regime) {
    this.regime = regime;
    this.forget();
    this.changed("question");
  }

  setUnit(key) {
    const ratio = this.m / this.unit.n;
    this.unit = this.units.find((unit) => unit.key === key) ?? this.units[0];
    this.m = Math.min(Math.max(1, Math.round(ratio * this.unit.n)), Math.max(1, this.unit.n - 1));
    this.forget();
    this.changed("question");
  }

  setCount(m) {
    this.m = Math.min(Math.max(1, m), Math.max(1, this.unit.n - 1));
    this.changed("question");
  }

  toggleTarget(latent) {
    const target = new Set(this.target);
    if (!target.delete(latent)) target.add(latent);
    this.setTarget(target);
  }

  setTarget(latents) {
    this.target = new Set(latents);
    delete this.known.design;
    this.changed("target");
  }

  /** Add all ancestors of the latents that are chosen: no mask shares a latent without them. */
  closeTarget() {
    this.setTarget([...this.target, ...this.graph.ancestors([...this.target])]);
  }

  // -------------------------------------------------------------------- answers

  forget() {
    this.known = {};
  }

  /** The shared information of the mask, or {error}. */
  get shared() {
    return (this.known.shared ??= attempt(() => sharedInformation(this.graph, this.mask, this.regime)));
  }

  /** What each target shares, group by group; a generator, since cuts may take long. */
  *targets() {
    const groups = new Map();
    for (const found of targetAncestors(this.graph, this.mask, this.regime)) {
      if (found === null) yield null;
      else {
        const key = [...found.latents].sort((a, b) => a - b).join();
        if (!groups.has(key)) groups.set(key, { latents: found.latents, cells: [] });
        groups.get(key).cells.push(found.target);
      }
    }
    yield [...groups.values()];
  }

  /** The smallest mask that shares exactly the chosen latents, why there is none, or {error}. */
  get design() {
    return (this.known.design ??= attempt(() => this.designed(this.target)));
  }

  designed(target, maxSeconds) {
    return designMask(this.graph, target, this.unit.of, maxSeconds);
  }

  /** Closed forms for random masks of the present unit; null where there are none. */
  get membership() {
    if (this.regime !== "invertible" || this.unit.n < 2) return null;
    if (!this.memberships.has(this.unit.key))
      this.memberships.set(this.unit.key, new Membership(this.graph, this.unit));
    return this.memberships.get(this.unit.key);
  }

  names(positions) {
    return [...positions].sort((a, b) => a - b).map((u) => this.graph.names[u]);
  }

  get maskedNames() {
    return this.graph.observed.filter((_, i) => this.mask[i]);
  }

  // -------------------------------------------------------------------- the address

  /** All of this in the part of an address after "#". */
  get fragment() {
    const parts = new URLSearchParams({ graph: this.entry.key, regime: this.regime, unit: this.unit.key, m: this.m });
    parts.set("mask", toHex(this.mask));
    if (this.target.size) {
      parts.set("target", toHex(Uint8Array.from({ length: this.graph.nLatents }, (_, u) => this.target.has(u))));
    }
    if (this.entry.key === "own" || this.entry.key === "given") {
      parts.set("name", this.entry.name);
      parts.set("json", this.entry.graph);
    }
    return `#${parts}`;
  }

  /** Restore what an address says; what does not fit is left as it was, and said. */
  restore(fragment) {
    const parts = new URLSearchParams(fragment.replace(/^#/, ""));
    if (!parts.has("graph")) return;
    const given = this.entries.find((one) => one.key === "given");
    if (parts.has("json") && !(given && given.graph === parts.get("json"))) {
      this.openText(parts.get("json"), parts.get("name") || "the address");
    } else this.openKey(parts.get("graph"));
    if (REGIMES.includes(parts.get("regime"))) this.setRegime(parts.get("regime"));
    this.setUnit(parts.get("unit"));
    if (/^[0-9]+$/.test(parts.get("m") ?? "")) this.setCount(Number(parts.get("m")));
    const mask = fromHex(parts.get("mask") ?? "", this.graph.nObserved);
    if (mask) this.setMask(mask);
    const target = fromHex(parts.get("target") ?? "", this.graph.nLatents);
    if (target) this.setTarget([...target.keys()].filter((u) => target[u]));
  }
}

function attempt(ask) {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { error: error.message };
  }
}

/** Bits as hexadecimal digits, four to a digit, the first in the highest place. */
function toHex(bits) {
  let written = "";
  for (let i = 0; i < bits.length; i += 4) {
    written += (8 * bits[i] + 4 * (bits[i + 1] ?? 0) + 2 * (bits[i + 2] ?? 0) + (bits[i + 3] ?? 0)).toString(16);
  }
  return written;
}

function fromHex(text, length) {
  if (!/^[0-9a-f]+$/.test(text) || text.length !== Math.ceil(length / 4)) return null;
  return Uint8Array.from({ length }, (_, i) => (parseInt(text[i >> 2], 16) >> (3 - (i & 3))) & 1);
}
