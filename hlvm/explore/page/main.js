// The page: elements and state tied together.
import { UsageError } from "./python.js";
import { Explorer } from "./state.js";
import { asPython, graphAsJson, maskAsJson } from "./copies.js";
import { Cells } from "./cells.js";
import { Drawing } from "./drawing.js";
import { showAnswer, showDesign, showProfile, showRegimes, showTargets } from "./panels.js";
import { at, counted, element, listed } from "./elements.js";

const explorer = new Explorer(JSON.parse(at("data").textContent));
const cells = new Cells(explorer, (i) => pointed(i === null ? null : explorer.graph.nLatents + i));
const drawing = new Drawing(explorer, pointed);
const earlier = [];
const MANY = 400;
let shownMask = null,
  shownPoint = null,
  waiting = 0;

// ---------------------------------------------------------------------- showing

explorer.listeners.push((what) => {
  if (what === "graph") {
    earlier.length = 0;
    pointed(null);
    drawing.clear();
    cells.build();
    showMenu();
    showRegimes(explorer);
  } else if (what === "mask" && shownMask) earlier.push(shownMask);
  shownMask = explorer.mask;
  at("undo").disabled = !earlier.length;
  drawing.update();
  if (what === "target") return showDesign(explorer);
  cells.update();
  showAnswer(explorer);
  explorer.answered = performance.now();
  if (what === "graph" && explorer.graph.n > MANY)
    afterPaint(showRest); // the answer is seen before the graph is drawn
  else showRest(what);
});

function showRest(what = "graph") {
  if (what === "graph") {
    waiting++;
    drawing.build();
  }
  showTargets(explorer, showPointed);
  showDesign(explorer);
  if (what !== "mask") showProfile(explorer);
  showPointed();
}

/** Run once after the next frame; what waited before is dropped. */
function afterPaint(act) {
  const own = ++waiting;
  const once = () => {
    if (own !== waiting) return;
    waiting++;
    act();
  };
  requestAnimationFrame(() => setTimeout(once, 0));
  setTimeout(once, 200); // pages that are not seen have no frames
}

function showMenu() {
  at("menu").replaceChildren(
    ...explorer.entries.map((entry) =>
      element("option", { value: entry.key, selected: entry === explorer.entry }, entry.name),
    ),
  );
  const { graph, entry } = explorer;
  const grid = graph.grid ? ` on a ${graph.grid[0]} × ${graph.grid[1]} grid` : "";
  const size = `${counted(graph.nLatents, "latent")} and ${counted(graph.nObserved, "observed variable")}${grid}.`;
  at("about").textContent = entry.reference ? `${size} ${entry.reference}.` : size;
  const looks = explorer.graph.grid ? "filled" : "filled and struck out";
  at("mask-help").textContent =
    `Click or drag to mask and unmask; or arrow keys and space, with shift to paint. What is masked is ${looks}.`;
}

/** What the pointer or the focus is on: itself, what is below or above it, in words. */
function pointed(u) {
  if (u === shownPoint) return;
  shownPoint = u;
  showPointed();
}

function showPointed() {
  const { graph, mask } = explorer,
    u = shownPoint;
  if (u === null || u >= graph.n) {
    cells.highlight(new Set());
    drawing.highlight(new Set());
    at("pointed").textContent = "";
    return;
  }
  const isLatent = u < graph.nLatents,
    name = graph.names[u];
  const group = isLatent ? null : explorer.known.groups?.find((one) => one.cells.includes(u - graph.nLatents));
  cells.highlight(new Set(isLatent ? graph.observedBelow(u) : []));
  drawing.highlight(new Set([u, ...(group ? group.latents : graph.ancestors([u]))]));
  if (isLatent) {
    const below = graph.observedBelow(u),
      hidden = below.filter((i) => mask[i]).length;
    at("pointed").textContent =
      `${name}: height ${graph.heights[u]}, dim ${graph.dims[u]}, noise dim ${graph.noiseDims[u]}. ` +
      `Below it ${hidden} masked and ${below.length - hidden} visible.`;
  } else {
    const shared = group
      ? ` Lowest latents that it shares with the visible part: ${listed(explorer.names(group.latents))}.`
      : "";
    const side = mask[u - graph.nLatents] ? "masked" : "visible";
    at("pointed").textContent = `${name}: ${side}.${shared} Above it: ${listed(explorer.names(graph.ancestors([u])))}.`;
  }
}

// ---------------------------------------------------------------------- controls

const on = (id, kind, act) => at(id).addEventListener(kind, act);

on("menu", "change", () => explorer.openKey(at("menu").value));
on("invert", "click", () => explorer.setMask(explorer.mask.map((hidden) => 1 - hidden)));
on("random", "click", () => explorer.maskAtRandom());
on("undo", "click", () => {
  const before = earlier.pop();
  if (before) {
    explorer.setMask(before);
    earlier.pop();
    at("undo").disabled = !earlier.length;
  }
});
on("regimes", "change", (event) => explorer.setRegime(event.target.value));
on("unit", "input", () => explorer.setUnit(explorer.units[Number(at("unit").value)].key));
on("ratio", "input", () => explorer.setCount(Number(at("ratio").value)));
on("apply", "click", () => explorer.design.mask && explorer.setMask(explorer.design.mask));
on("close", "click", () => explorer.closeTarget());
on("take", "click", () => explorer.setTarget(explorer.shared.members ?? []));
on("clear", "click", () => explorer.setTarget([]));

const isDark = () =>
  (document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const showTheme = () => at("theme").setAttribute("aria-pressed", isDark() ? "true" : "false");
on("theme", "click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

// ---------------------------------------------------------------------- own graphs

on("own", "click", () => {
  at("fault").textContent = "";
  at("dialog").showModal();
});
on("file", "change", async () => {
  const [file] = at("file").files;
  if (!file) return;
  try {
    at("paste").value = decoded(await file.arrayBuffer());
    at("fault").textContent = "";
  } catch (error) {
    told(error);
  }
});
on("open", "click", () => {
  try {
    explorer.openText(at("paste").value, at("file").files[0]?.name ?? "pasted graph");
    at("file").value = "";
    at("dialog").close();
  } catch (error) {
    told(error);
  }
});

function told(error) {
  if (!(error instanceof UsageError)) throw error;
  at("fault").textContent = error.message;
}

/** Text of a file: UTF-8, or UTF-16 with a byte order mark. */
function decoded(content) {
  const [first, second] = new Uint8Array(content.slice(0, 2));
  const encoding =
    first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(content);
  } catch {
    throw new UsageError("it is not UTF-8 text: save it as UTF-8");
  }
}

// ---------------------------------------------------------------------- copies

async function copy(text, what) {
  at("copy-text").value = text;
  at("copy-text").hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    at("copied").textContent = `${what} copied.`;
  } catch {
    at("copy-text").select();
    at("copied").textContent = `${what} is selected below: copy it with the keyboard.`;
  }
}

on("copy-python", "click", () => copy(asPython(explorer), "Python"));
on("copy-mask", "click", () => copy(maskAsJson(explorer), "The mask"));
on("copy-graph", "click", () => copy(graphAsJson(explorer), "The graph"));
on("copy-address", "click", () => {
  history.replaceState(null, "", explorer.fragment);
  copy(location.href, "The address");
});

function fromAddress() {
  try {
    explorer.restore(location.hash);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    at("answer").textContent = `The address does not fit: ${error.message}.`;
  }
}
window.addEventListener("hashchange", fromAddress);

window.explorer = explorer;
explorer.changed("graph");
fromAddress();
