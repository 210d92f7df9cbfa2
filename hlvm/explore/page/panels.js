// The answers in words and tables.
import { REGIMES } from "./state.js";
import { drawnProfile } from "./profile.js";
import { MOST_CURVES, chart } from "./chart.js";
import { Turns, at, counted, element, listed } from "./elements.js";

const MOST_ROWS = 60,
  DRAWN = 200,
  DRAWN_PER_POINT = 40,
  POINTS = 9;
const targetTurns = new Turns(),
  profileTurns = new Turns();

// ---------------------------------------------------------------------- one mask

/** The answer in one sentence, for the eye and for screen readers. */
export function showAnswer(explorer) {
  const { shared, graph, regime } = explorer;
  const masked = explorer.mask.reduce((total, hidden) => total + hidden, 0);
  at("count").textContent = `${masked} of ${graph.nObserved} masked`;
  at("legend-also").hidden = Boolean(shared.error || shared.unique);
  if (shared.error) {
    at("answer").textContent = `No answer: ${shared.error}.`;
    at("members").replaceChildren();
    return;
  }
  const { members, frontier, dim, unique, nearVisible } = shared;
  const told = (some) => listed(explorer.names(some));
  const low = frontier.length === members.length ? "The frontier is the same" : `Frontier: ${told(frontier)}`;
  const other = unique ? "" : ` It is not the only set of so few dims: near the visible part is ${told(nearVisible)}.`;
  at("answer").textContent = members.length
    ? `c has ${counted(members.length, "latent")}: ${told(members)}. ${low}. d_c = ${dim}.${other}`
    : `c is empty: the two sides share nothing. d_c = ${dim}.`;
  const [inside, lowest] = [new Set(members), new Set(frontier)];
  const rows = [...graph.levels].reverse().map((height) => {
    const own = graph.latents.map((_, u) => u).filter((u) => graph.heights[u] === height);
    const of = (some) => `${own.filter((u) => some.has(u)).length} of ${own.length}`;
    return [String(height), of(inside), of(lowest)];
  });
  at("members").replaceChildren(table(["height", "in c", "in the frontier"], rows, [1, 2]));
  document.querySelectorAll('input[name="regime"]').forEach((input) => {
    input.checked = input.value === regime;
  });
}

/** What each target shares, in turns, since there may be many cuts to find. */
export function showTargets(explorer, done) {
  const home = at("targets");
  if (explorer.shared.error) {
    targetTurns.start([].values(), () => null);
    return home.replaceChildren();
  }
  home.setAttribute("aria-busy", "true");
  targetTurns.start(explorer.targets(), (groups) => {
    const { graph } = explorer;
    explorer.known.groups = groups;
    const rows = groups.map(({ latents, cells }) => [
      latents.length ? listed(explorer.names(latents), 6) : "nothing",
      listed(
        cells.map((i) => graph.names[graph.nLatents + i]),
        8,
      ),
      String(cells.length),
    ]);
    home.replaceChildren(table(["lowest shared latents", "targets", "number"], rows, [2]));
    home.setAttribute("aria-busy", "false");
    done();
  });
}

/** Which regimes there are, and why not. */
export function showRegimes(explorer) {
  const problem = explorer.graph.invertibleDimsError;
  for (const input of document.querySelectorAll('input[name="regime"]')) {
    input.disabled = input.value === REGIMES[0] && problem !== null;
    input.checked = input.value === explorer.regime;
  }
  at("regime-note").textContent = problem === null ? "" : `These dims do not allow invertible ones: ${problem}.`;
}

// ---------------------------------------------------------------------- design

export function showDesign(explorer) {
  const { target, graph, regime } = explorer;
  const chosen = explorer.names(target);
  const tags = chosen.slice(0, 40).map((name) => element("span", { class: "tag" }, name));
  if (chosen.length > 40) tags.push(element("span", { class: "quiet" }, `and ${chosen.length - 40} more`));
  at("chosen").replaceChildren(...(tags.length ? tags : [element("span", { class: "quiet" }, "No latent is chosen.")]));
  at("take").disabled = Boolean(explorer.shared.error);
  at("clear").disabled = !target.size;
  at("close").disabled = [...graph.ancestors([...target])].every((u) => target.has(u));
  const found = target.size ? explorer.design : {};
  at("apply").disabled = !found.mask;
  if (!target.size) at("design").textContent = "";
  else if (found.error) at("design").textContent = `No answer: ${found.error}.`;
  else if (found.reason) at("design").textContent = `No mask shares exactly these: ${found.reason}.`;
  else {
    const names = graph.observed.filter((_, i) => found.mask[i]);
    const other = regime === "general" ? " It holds for invertible mechanisms." : "";
    at("design").textContent = `Smallest mask: ${names.length} of ${graph.nObserved}: ${listed(names)}.${other}`;
  }
}

// ---------------------------------------------------------------------- random masks

/** Sliders, curves and the table of random masks. */
export function showProfile(explorer) {
  const { units, unit, m, graph } = explorer;
  at("unit").max = units.length - 1;
  at("unit").value = units.indexOf(unit);
  at("unit").disabled = units.length < 2;
  at("unit").setAttribute("aria-valuetext", unit.words);
  at("unit-words").textContent = unit.words;
  at("ratio").max = Math.max(1, unit.n - 1);
  at("ratio").value = m;
  at("ratio").disabled = at("random").disabled = unit.n < 2;
  const words = `${m} of ${unit.n} (${(m / unit.n).toFixed(2)})`;
  at("ratio").setAttribute("aria-valuetext", words);
  at("ratio-words").textContent = words;
  profileTurns.start([].values(), () => null);
  if (unit.n < 2) {
    at("chart").replaceChildren();
    at("profile").replaceChildren();
    at("profile-note").textContent = "A mask needs at least 2 variables to mask.";
    return;
  }
  if (explorer.regime === "invertible") showExact(explorer);
  else profileTurns.start(drawn(explorer), ({ curves, now, note }) => fill(explorer, curves, now, note));
}

function showExact(explorer) {
  const { membership, unit, m, graph } = explorer;
  const steps = Math.min(unit.n - 1, 60);
  const counts = [
    ...new Set(Array.from({ length: steps }, (_, i) => 1 + Math.round((i * (unit.n - 2)) / Math.max(1, steps - 1)))),
  ];
  membership.curves ??= counts.map((count) => [count / unit.n, membership.byHeight(membership.members(count))]);
  const note =
    "Exact: the expected share of the latents of each height in c, and in its frontier, over masks of so many units.";
  fill(explorer, membership.curves, membership.profile(m), note);
}

function* drawn(explorer) {
  const { graph, unit, m } = explorer;
  const curves = [];
  const note = (n) =>
    `Drawn: means over ${n} random masks with their standard errors, as a least-dims ` +
    `separator has no closed form; ${DRAWN_PER_POINT} masks for each point of the curves.`;
  let now = null;
  for (const result of drawnProfile(graph, unit, m, DRAWN)) {
    now = result();
    yield now.nMasks === 20 || now.nMasks === DRAWN ? { curves, now, note: note(now.nMasks) } : null;
  }
  for (let i = 0; i < POINTS; i++) {
    const count = Math.min(unit.n - 1, Math.max(1, Math.round(((i + 0.5) * unit.n) / POINTS)));
    if (curves.length && curves.at(-1)[0] === count / unit.n) continue;
    let last = null;
    for (const result of drawnProfile(graph, unit, count, DRAWN_PER_POINT)) {
      last = result;
      yield null;
    }
    curves.push([count / unit.n, last().share]);
    yield { curves, now, note: note(DRAWN) };
  }
}

function fill(explorer, curves, now, note) {
  const { graph, unit, m, entry } = explorer,
    levels = graph.levels;
  const some =
    levels.length <= MOST_CURVES
      ? levels
      : Array.from(
          { length: MOST_CURVES },
          (_, i) => levels[Math.round((i * (levels.length - 1)) / (MOST_CURVES - 1))],
        );
  at("chart").replaceChildren(
    chart(
      [...some].reverse().map((height) => ({
        name: `height ${height}`,
        points: curves.map(([ratio, shares]) => [ratio, shares[levels.indexOf(height)]]),
      })),
      m / unit.n,
      "share in c",
      Math.min(560, Math.max(270, at("chart").clientWidth)),
    ),
  );
  const downwards = [...levels.keys()].reverse();
  const rows = downwards.map((i) => {
    const latents = graph.latents.filter((_, u) => graph.heights[u] === levels[i]).length;
    const frontier = now.frontierShare ? [number(now.frontierShare[i])] : [];
    return [String(levels[i]), String(latents), number(now.share[i], now.error?.[i]), ...frontier];
  });
  const head = ["height", "latents", "share in c", ...(now.frontierShare ? ["in the frontier"] : [])];
  const shown = [table(head, rows, [0, 1, 2, 3])];
  const tables = entry.tables?.units?.[unit.key] ?? null;
  const quantities = tables ? Object.keys(tables) : [];
  const near = tables ? nearest(Object.keys(tables[quantities[0]]).map(Number), m) : null;
  if (tables) {
    const told = (found) => (found ? number(...found) : "–");
    const known = downwards.map((i) => [String(levels[i]), ...quantities.map((of) => told(tables[of][near][i]))]);
    shown.push(table(["height", ...quantities], known, [0, 1, 2, 3]));
  }
  at("profile").replaceChildren(...shown);
  at("profile-note").textContent = [
    `${note} Expected d_c: ${number(now.dim, now.dimError)}.`,
    ofTables(explorer, quantities, near),
  ].join(" ");
}

/** A number, with its standard error where three digits show one. */
function number(value, error = 0) {
  return `${value.toFixed(3)}${error >= 0.0005 ? ` ± ${error.toFixed(3)}` : ""}`;
}

/** What the columns of an oracle say, or why there are none. */
function ofTables(explorer, quantities, near) {
  const { entry, unit, m } = explorer,
    { tables } = entry;
  const missing = (tables?.missing ?? []).map((reason) => `Not available: ${reason}.`).join(" ");
  if (!quantities.length)
    return (
      missing ||
      "Availability, demand and signal are not available: they need a model with an exact oracle (hlvm explore MODEL)."
    );
  const at = near === m ? "" : ` They are tabulated at ${near} of ${unit.n} units, the nearest to this ratio.`;
  const how = tables.n_masks
    ? ` An exact oracle was asked about ${tables.n_masks} masks for each number (± standard error).`
    : "";
  return (
    "Availability: R² of the best prediction of a latent from the visible part. Demand: what context of this height " +
    `takes off the loss of a masked cell. Signal: how strongly training pulls it into the code.${how}${at} ${missing}`
  );
}

function nearest(counts, m) {
  return counts.reduce((best, count) => (Math.abs(count - m) < Math.abs(best - m) ? count : best));
}

function table(head, rows, numbers) {
  const cell = (tag, text, i) => element(tag, numbers.includes(i) ? { class: "number" } : {}, text);
  const body = rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, ...row.map((text, i) => cell("td", text, i))));
  if (rows.length > MOST_ROWS) {
    body.push(element("tr", {}, element("td", { colspan: head.length }, `and ${rows.length - MOST_ROWS} more`)));
  }
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((text, i) => cell("th", text, i)))),
    element("tbody", {}, ...body),
  );
}
