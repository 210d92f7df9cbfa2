// Weighted set splitting: choose parts so that every set has a chosen and a left-out part, with the least total weight.

/** The search took longer than allowed. */
export class OutOfTime extends Error {}

/**
 * Parts chosen so that no set is wholly chosen or wholly left out, and at least one part is chosen and one left out.
 *
 * Sets that share parts are solved together by branch and bound; its answer is proved best, or that there is none.
 *
 * @returns {chosen}, 1 per chosen part; or {impossible}, positions of some sets that cannot all be split
 */
export function lightestSplitting(sets, weights, optimal, deadline) {
  const chosen = new Uint8Array(weights.length);
  if (!sets.length) {
    chosen[weights.indexOf(Math.min(...weights))] = 1;
    return { chosen };
  }
  for (const group of entangled(sets)) {
    const distinct = [...new Map(group.map((i) => [[...sets[i]].sort((a, b) => a - b).join(), sets[i]])).values()];
    if (distinct.length === 1) {
      const lighter = (one, other) => ((weights[other] - weights[one] || other - one) < 0 ? other : one);
      chosen[[...distinct[0]].reduce(lighter)] = 1;
      continue;
    }
    const picked = branchAndBound(distinct, weights, optimal, deadline);
    if (picked === null) return { impossible: group };
    for (const part of picked) chosen[part] = 1;
  }
  return { chosen };
}

/** Sets that share parts, directly or through others, in groups of positions. */
function entangled(sets) {
  const groupOf = new Map(),
    above = sets.map((_, i) => i);
  const top = (i) => {
    while (above[i] !== i) i = above[i] = above[above[i]];
    return i;
  };
  sets.forEach((parts, i) => {
    for (const part of parts) {
      if (groupOf.has(part)) above[top(i)] = top(groupOf.get(part));
      else groupOf.set(part, i);
    }
  });
  const groups = new Map();
  sets.forEach((_, i) => (groups.has(top(i)) ? groups.get(top(i)).push(i) : groups.set(top(i), [i])));
  return [...groups.values()];
}

function branchAndBound(sets, weights, optimal, deadline) {
  return new Search(sets, weights, optimal, deadline).best();
}

/**
 * A depth-first search. A part is chosen, left out or open. A set with one open part and nothing chosen (or nothing
 * left out) decides that part. As soon as every set has a chosen part, leaving out what is open is the lightest end.
 */
class Search {
  constructor(sets, weights, optimal, deadline) {
    this.parts = [...new Set(sets.flatMap((parts) => [...parts]))].sort((a, b) => a - b);
    const place = new Map(this.parts.map((part, i) => [part, i]));
    this.sets = sets.map((parts) => [...parts].map((part) => place.get(part)));
    this.weights = this.parts.map((part) => (optimal ? weights[part] : 0));
    this.setsOf = this.parts.map(() => []);
    this.sets.forEach((members, i) => members.forEach((part) => this.setsOf[part].push(i)));
    this.value = new Int8Array(this.parts.length).fill(-1);
    this.chosen = new Int32Array(sets.length);
    this.left = new Int32Array(sets.length);
    this.weight = 0;
    this.trail = [];
    Object.assign(this, { optimal, deadline, found: null, least: Infinity, steps: 0 });
  }

  best() {
    this.search();
    return this.found && this.parts.filter((_, i) => this.found[i]);
  }

  /** Returns whether the search is over. */
  search() {
    if ((++this.steps & 255) === 0 && performance.now() > this.deadline) throw new OutOfTime();
    const open = this.sets.map((_, i) => i).filter((i) => !this.chosen[i]);
    if (this.weight + this.bound(open) >= this.least) return false;
    if (!open.length) {
      this.found = this.value.map((value) => (value === 1 ? 1 : 0));
      this.least = this.weight;
      return !this.optimal;
    }
    const openParts = (i) => this.sets[i].filter((part) => this.value[part] < 0);
    const smallest = open.reduce((one, other) => (openParts(other).length < openParts(one).length ? other : one));
    const worth = (part) => this.setsOf[part].filter((i) => !this.chosen[i]).length / (1 + this.weights[part]);
    const candidates = openParts(smallest).sort((a, b) => worth(b) - worth(a) || a - b);
    const begin = this.trail.length;
    for (const part of candidates) {
      const mark = this.trail.length;
      if (this.decide(part, 1) && this.search()) return true;
      this.undo(mark);
      if (!this.decide(part, 0)) break;
    }
    this.undo(begin);
    return false;
  }

  /** What sets without a chosen part and without a common open one cost at least. */
  bound(open) {
    if (!this.optimal) return 0;
    const used = new Uint8Array(this.parts.length);
    let total = 0;
    for (const i of open) {
      let least = Infinity,
        apart = true;
      for (const part of this.sets[i]) {
        if (this.value[part] >= 0) continue;
        if (used[part]) apart = false;
        least = Math.min(least, this.weights[part]);
      }
      if (!apart) continue;
      total += least;
      for (const part of this.sets[i]) used[part] = 1;
    }
    return total;
  }

  /** Give a part a value with all that follows; false if a set can no longer be split. */
  decide(part, value) {
    const waiting = [[part, value]];
    while (waiting.length) {
      const [at, to] = waiting.pop();
      if (this.value[at] === to) continue;
      if (this.value[at] >= 0) return false;
      this.value[at] = to;
      this.trail.push(at);
      if (to) this.weight += this.weights[at];
      for (const i of this.setsOf[at])
        if (to) this.chosen[i]++;
        else this.left[i]++;
      for (const i of this.setsOf[at]) {
        const rest = this.sets[i].length - this.chosen[i] - this.left[i];
        if (this.chosen[i] && this.left[i]) continue;
        if (!rest) return false;
        if (rest === 1) waiting.push([this.sets[i].find((other) => this.value[other] < 0), this.chosen[i] ? 0 : 1]);
      }
    }
    return true;
  }

  undo(mark) {
    while (this.trail.length > mark) {
      const part = this.trail.pop();
      for (const i of this.setsOf[part])
        if (this.value[part]) this.chosen[i]--;
        else this.left[i]--;
      if (this.value[part]) this.weight -= this.weights[part];
      this.value[part] = -1;
    }
  }
}
