// Mask design in the invertible regime: the algorithm and the words of hlvm/theory/design/mask_design.py.
import { UsageError, byCodePoints, repr } from "./python.js";
import { checkRegime } from "./sharing.js";
import { OutOfTime, lightestSplitting } from "./splitting.js";

/**
 * The smallest mask whose shared information is exactly the target, or the proof that there is none.
 *
 * @param target positions of latents
 * @param patchOf patch of each observed variable
 * @returns {mask} or {reason, latent, wanted, oneOf} with positions of latents
 */
export function designMask(graph, target, patchOf, maxSeconds = 3) {
  checkRegime(graph, "invertible");
  if (Math.max(...patchOf) === 0) {
    throw new UsageError("a mask needs at least 2 patches (one masked, one visible), got 1: use a smaller unit");
  }
  const puzzle = new Puzzle(graph, new Set(target), patchOf, performance.now() + 1000 * maxSeconds);
  try {
    return puzzle.missingParent() ?? puzzle.solve();
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    throw new UsageError(
      `no answer within ${maxSeconds} seconds: on graphs whose target latents overlap this problem is hard: ` +
        "hlvm design has more time, or take larger patches, or fewer latents in the target",
    );
  }
}

/** Numbers of connected classes, in the order of their first nodes. */
function components(n, pairs) {
  const above = Int32Array.from({ length: n }, (_, i) => i);
  const top = (u) => {
    while (above[u] !== u) u = above[u] = above[above[u]];
    return u;
  };
  for (const [one, other] of pairs) {
    const a = top(one),
      b = top(other);
    if (a < b) above[b] = a;
    else above[a] = b;
  }
  const label = new Int32Array(n);
  let count = 0;
  for (let u = 0; u < n; u++) label[u] = top(u) === u ? count++ : label[top(u)];
  return { label, count };
}

class Puzzle {
  constructor(graph, target, patchOf, deadline) {
    Object.assign(this, { graph, target, patchOf, deadline });
    this.nPatches = Math.max(...patchOf) + 1;
  }

  missingParent() {
    let last = null;
    for (const u of this.target) {
      for (const parent of this.graph.parents[u]) {
        if (this.target.has(parent)) continue;
        if (last === null || parent > last[0] || (parent === last[0] && u > last[1])) last = [parent, u];
      }
    }
    if (last === null) return null;
    const found = this.irreducibleReason(last);
    if (!found.oneOf.length) return found;
    const missing = [...this.graph.ancestors([...this.target])]
      .filter((u) => !this.target.has(u))
      .map((u) => this.graph.names[u])
      .sort(byCodePoints);
    const listed =
      missing.slice(0, 8).map(repr).join(", ") + (missing.length > 8 ? ` and ${missing.length - 8} more` : "");
    found.reason +=
      `; it is a parent of ${repr(this.graph.names[last[1]])}, which the target asks for, and a ` +
      `mask cannot share a latent without its ancestors (missing: ${listed})`;
    return found;
  }

  solve() {
    const { graph, target } = this;
    const part = this.parts();
    const first = graph.nLatents;
    const weights = [];
    for (let cell = 0; cell < graph.nObserved; cell++)
      weights[part[first + cell]] = (weights[part[first + cell]] ?? 0) + 1;
    const frontier = [...target]
      .sort((a, b) => a - b)
      .filter((u) => !graph.children[u].some((child) => target.has(child)));
    const sets = frontier.map((u) => new Set(graph.children[u].map((child) => part[child])));
    const whole = sets.findIndex((parts) => parts.size === 1);
    if (whole >= 0) return this.explain([frontier[whole]], part);
    if (weights.length === 1) return this.explain([], part);
    const { chosen, impossible } = lightestSplitting(sets, weights, true, this.deadline);
    if (impossible)
      return this.explain(
        impossible.map((i) => frontier[i]),
        part,
      );
    return { mask: Uint8Array.from({ length: graph.nObserved }, (_, cell) => chosen[part[first + cell]]) };
  }

  /** The part of each variable, numbered from 0 over what is observed; -1 for latents in no such part. */
  parts() {
    const { graph, patchOf } = this;
    const pairs = [];
    graph.parents.forEach((above, child) => above.forEach((p) => this.target.has(p) || pairs.push([p, child])));
    patchOf.forEach((patch, cell) => pairs.push([graph.nLatents + cell, graph.n + patch]));
    const { label, count } = components(graph.n + this.nPatches, pairs);
    const number = new Int32Array(count).fill(-1);
    const used = [...new Set(label.slice(graph.nLatents, graph.n))].sort((a, b) => a - b);
    used.forEach((which, i) => (number[which] = i));
    return label.slice(0, graph.n).map((which) => number[which]);
  }

  explain(split, part) {
    const { graph, target } = this;
    const near = new Set(split.flatMap((u) => graph.observedBelow(u).map((cell) => part[graph.nLatents + cell])));
    const whole = [];
    for (let u = 0; u < graph.nLatents; u++) {
      const closed = !target.has(u) && graph.parents[u].every((parent) => target.has(parent));
      if (closed && (!split.length || near.has(part[u]))) whole.push(u);
    }
    return this.irreducibleReason([...whole, ...split]);
  }

  irreducibleReason(latents) {
    const below = new Map(
      latents.map((u) => [u, [...new Set(this.graph.observedBelow(u).map((x) => this.patchOf[x]))]]),
    );
    const impossible = (some) =>
      this.impossible(
        some.filter((u) => this.target.has(u)).map((u) => below.get(u)),
        some.filter((u) => !this.target.has(u)).map((u) => below.get(u)),
      );
    const core = irreducible(latents, impossible);
    return this.worded(
      core.filter((u) => this.target.has(u)),
      core.filter((u) => !this.target.has(u)),
    );
  }

  /** Whether no mask has every set of `split` on both sides and every set of `whole` on one. */
  impossible(split, whole) {
    const pairs = whole.flatMap((patches) => patches.map((patch) => [patches[0], patch]));
    const { label, count } = components(this.nPatches, pairs);
    const sets = split.map((patches) => new Set(patches.map((patch) => label[patch])));
    if (count === 1 || sets.some((parts) => parts.size === 1)) return true;
    return Boolean(lightestSplitting(sets, Array(count).fill(1), false, this.deadline).impossible);
  }

  worded(wanted, oneOf) {
    const named = (some) => some.map((u) => repr(this.graph.names[u]));
    const listed = named(wanted).join(" and "),
      either = named(oneOf).join(" or ");
    const it = oneOf.length === 1 ? "it" : "one of them";
    let reason;
    if (!wanted.length) {
      reason = `${either} must come along: every mask of these patches has ${it} on both sides; add it to the target`;
    } else if (oneOf.length) {
      reason =
        `${either} must come along: every mask that has ${listed} on both sides has ${it} on both sides, too; ` +
        "add it to the target";
    } else if (wanted.length === 1) {
      reason = `${listed} cannot be had: everything below it lies in one patch; use smaller patches, or leave it out`;
    } else {
      reason =
        `${listed} cannot be had together: no mask of these patches splits all of them; leave one out with its ` +
        "descendants, or use smaller patches";
    }
    return { reason, latent: oneOf.length === 1 || !wanted.length ? oneOf[0] : wanted[0], wanted, oneOf };
  }
}

/** A part of `items` that is impossible together while none of its own parts is (QuickXplain, Junker 2004). */
function irreducible(items, impossible) {
  const within = (background, grown, candidates) => {
    if (grown && impossible(background)) return [];
    if (candidates.length === 1) return candidates;
    const half = candidates.length >> 1;
    const first = candidates.slice(0, half),
      second = candidates.slice(half);
    const fromSecond = within([...background, ...first], true, second);
    const fromFirst = within([...background, ...fromSecond], fromSecond.length > 0, first);
    return [...fromFirst, ...fromSecond];
  };
  return within([], false, items);
}
