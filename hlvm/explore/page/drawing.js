// The graph in rows by height: which latents are in c, which are chosen; click or press space to choose.
import { at, element, svg } from "./elements.js";
import { layered } from "./layout.js";

const ROW = 56,
  SIDE = 34,
  TOP = 26;
const ROLES = { frontier: "in c, frontier", member: "in c", also: "in the other cut", "": "not in c" };

/** The drawing of an explorer's graph. `point` is told which variable the pointer or the focus is on. */
export class Drawing {
  constructor(explorer, point) {
    this.explorer = explorer;
    this.point = point;
    this.home = at("drawing");
    this.zoom = 1;
    this.clear();
    this.home.addEventListener("click", (event) => this.click(event));
    this.home.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["pointerover", "focusin"]) {
      this.home.addEventListener(kind, (event) => this.point(this.variableOf(event.target)));
    }
    for (const kind of ["pointerleave", "focusout"]) this.home.addEventListener(kind, () => this.point(null));
    for (const [id, change] of [
      ["smaller", 1 / 1.6],
      ["larger", 1.6],
      ["fit", 0],
    ]) {
      at(id).addEventListener("click", () => {
        this.zoom = change ? Math.min(40, Math.max(1, this.zoom * change)) : 1;
        this.draw();
      });
    }
    new ResizeObserver(() => this.width() !== this.drawnFor && this.draw()).observe(this.home);
    drawLegend();
  }

  width() {
    return Math.max(240, this.home.clientWidth);
  }

  clear() {
    this.layout = this.shapes = null;
    this.home.replaceChildren();
  }

  build() {
    this.layout = layered(this.explorer.graph);
    this.zoom = 1;
    this.draw();
  }

  draw() {
    if (!this.layout) return;
    const { graph } = this.explorer,
      { x, rows, width } = this.layout;
    this.drawnFor = this.width();
    const focused = this.variableOf(document.activeElement);
    const room = (this.drawnFor - 2 * SIDE) * this.zoom;
    const step = width ? Math.min(room / width, 110 * this.zoom) : 0;
    const left = SIDE + (room - step * width) / 2;
    const rowHeight = Math.max(26, Math.min(ROW, 430 / rows.length));
    this.beside = rowHeight < 44; // names stand below latents, or beside them
    const place = (u) => [left + step * x[u], TOP + (rows.length - 1 - graph.heights[u]) * rowHeight];
    const gap = (row) => step * row.slice(1).reduce((least, u, i) => Math.min(least, x[u] - x[row[i]]), Infinity);
    const gaps = rows.map((row) => (row.length > 1 ? gap(row) : room));
    this.radius = gaps.map((gap) => Math.max(1.2, Math.min(10, rowHeight * 0.28, gap * 0.42)));
    const lines = graph.parents.flatMap((above, child) =>
      above.map((parent) => {
        const [x1, y1] = place(parent),
          [x2, y2] = place(child);
        const far = graph.heights[parent] - graph.heights[child] > 1; // it passes rows, whose variables it should miss
        const bend = far ? (x1 <= x2 ? 1 : -1) * Math.min(18, 6 + gaps[graph.heights[child]] * 0.4) : 0;
        const middle = `${(x1 + x2) / 2 + bend} ${(y1 + y2) / 2}`;
        return svg("path", {
          class: "edge",
          d: bend ? `M${x1} ${y1}Q${middle} ${x2} ${y2}` : `M${x1} ${y1}L${x2} ${y2}`,
        });
      }),
    );
    this.roles = [];
    this.shapes = graph.names.map((name, u) => this.variable(u, name, place(u), gaps[graph.heights[u]]));
    const ruler = rows.map((_, height) =>
      svg("text", { class: "height", x: 4, y: TOP + (rows.length - 1 - height) * rowHeight + 4 }, String(height)),
    );
    const picture = svg(
      "svg",
      {
        width: Math.round(room + 2 * SIDE),
        height: Math.round(TOP + rowHeight * (rows.length - 1) + 34),
        role: "group",
        "aria-label": "Graph; heights are at the left. Arrow keys move between latents, space chooses one.",
      },
      svg("g", {}, ...lines),
      svg("g", {}, ...this.shapes.map((shape) => shape.group)),
      svg("g", { "aria-hidden": "true" }, ...ruler),
    );
    this.home.classList.toggle("many", graph.n > 300);
    this.home.replaceChildren(picture);
    this.near = new Set();
    this.tabbed = 0;
    this.update();
    if (focused !== null && focused < graph.nLatents) this.focus(focused);
  }

  variable(u, name, [cx, cy], gap) {
    const { graph } = this.explorer,
      r = this.radius[graph.heights[u]];
    if (u >= graph.nLatents) {
      const high = Math.max(r, 4),
        box = { x: cx - r, y: cy - high, width: 2 * r, height: 2 * high };
      const leaf = svg("rect", { class: "leaf", ...box, "data-variable": u }, svg("title", {}, name));
      return { group: svg("g", {}, leaf, label(name, cx, cy + 22, gap)), leaf };
    }
    const shape = svg("path", { class: "shape", transform: `translate(${cx} ${cy})` });
    const ring = svg("rect", {
      class: "ring",
      x: cx - r - 4,
      y: cy - r - 4,
      width: 2 * r + 8,
      height: 2 * r + 8,
      rx: 3,
    });
    const hit = svg("circle", { cx, cy, r: Math.max(r, Math.min(9, gap / 2)), fill: "transparent" });
    const group = svg(
      "g",
      { class: "latent", role: "button", tabindex: u ? -1 : 0, "aria-pressed": "false", "data-variable": u },
      svg("title", {}, name),
      shape,
      ring,
      hit,
      this.beside ? label(name, cx + r + 8, cy + 4, gap / 2 - r, "start") : label(name, cx, cy + r + 16, gap),
    );
    return { group, shape, r };
  }

  /** Show members, frontier and what is chosen: only what has changed is touched. */
  update() {
    if (!this.shapes) return;
    const { graph, shared, target, mask } = this.explorer;
    const members = new Set(shared.members),
      frontier = new Set(shared.frontier),
      also = new Set(shared.nearVisible);
    for (let u = 0; u < graph.nLatents; u++) {
      const role = frontier.has(u) ? "frontier" : members.has(u) ? "member" : also.has(u) ? "also" : "";
      const state = `${role} ${target.has(u) ? "chosen" : ""}`;
      if (this.roles[u] === state) continue;
      this.roles[u] = state;
      const { group, shape, r } = this.shapes[u];
      group.setAttribute("class", `latent ${state}`);
      group.setAttribute("aria-pressed", target.has(u) ? "true" : "false");
      group.setAttribute("aria-label", `${graph.names[u]}, height ${graph.heights[u]}, ${ROLES[role]}`);
      shape.setAttribute("d", outline(role, r));
    }
    for (let i = 0; i < graph.nObserved; i++) {
      const u = graph.nLatents + i,
        state = mask[i] ? "leaf masked" : "leaf";
      if (this.roles[u] === state) continue;
      this.roles[u] = state;
      this.shapes[u].leaf.setAttribute("class", state);
    }
  }

  /** Mark variables that belong to what is pointed at. */
  highlight(variables) {
    if (!this.shapes) return;
    const mark = (u, on) => {
      const { group, leaf } = this.shapes[u];
      (leaf ?? group).classList.toggle("near", on);
    };
    for (const u of this.near) if (this.shapes[u]) mark(u, false);
    for (const u of variables) mark(u, true);
    this.near = new Set(variables);
  }

  variableOf(target) {
    const found = target?.closest?.("[data-variable]");
    return found && this.home.contains(found) ? Number(found.dataset.variable) : null;
  }

  click(event) {
    const u = this.variableOf(event.target),
      { graph, mask } = this.explorer;
    if (u === null) return;
    if (u < graph.nLatents) {
      this.focus(u);
      this.explorer.toggleTarget(u);
    } else this.explorer.paint(u - graph.nLatents, mask[u - graph.nLatents] ? 0 : 1);
  }

  key(event) {
    const u = this.variableOf(event.target),
      { graph } = this.explorer;
    if (u === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.layout.rows[graph.heights[u]],
      i = row.indexOf(u);
    const moves = {
      ArrowLeft: row[i - 1],
      ArrowRight: row[i + 1],
      Home: row[0],
      End: row.at(-1),
      ArrowUp: graph.parents[u][0],
      ArrowDown: graph.children[u].find((child) => child < graph.nLatents),
    };
    if (event.key === " " || event.key === "Enter") this.explorer.toggleTarget(u);
    else if (event.key in moves) {
      if (moves[event.key] !== undefined) this.focus(moves[event.key]);
    } else return;
    event.preventDefault();
  }

  focus(u) {
    this.shapes[this.tabbed].group.setAttribute("tabindex", "-1");
    this.tabbed = u;
    this.shapes[u].group.setAttribute("tabindex", "0");
    this.shapes[u].group.focus({ preventScroll: true });
    this.shapes[u].group.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  }
}

/** A circle, or a diamond for the frontier, about the origin. */
function outline(role, r) {
  const d = 1.25 * r;
  if (role === "frontier") return `M0 ${-d}L${d} 0L0 ${d}L${-d} 0Z`;
  return `M${-r} 0A${r} ${r} 0 1 1 ${r} 0A${r} ${r} 0 1 1 ${-r} 0Z`;
}

/** A name, if there is room for it, or for enough of it to be told from others. */
function label(name, x, y, gap, anchor = null) {
  const most = Math.floor((gap - 5) / 6.5),
    letters = Array.from(name);
  if (letters.length > most && most < 8) return null;
  const text = letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : name;
  return svg("text", { class: "name", x, y, style: anchor && `text-anchor: ${anchor}`, "aria-hidden": "true" }, text);
}

function drawLegend() {
  const entry = (classes, words, size, ...shapes) => {
    const sample = svg(
      "svg",
      { width: size, height: size, "aria-hidden": "true" },
      svg("g", { class: classes }, ...shapes),
    );
    return element("span", {}, sample, words);
  };
  const latent = (role, words, chosen = "") => {
    const shape = svg("path", { class: "shape", d: outline(role, 6.5), transform: "translate(11 11)" });
    const ring = svg("rect", { class: "ring", x: 1.5, y: 1.5, width: 19, height: 19, rx: 3 });
    return entry(`latent ${role} ${chosen}`, words, 22, shape, ring);
  };
  const leaf = (classes, words) =>
    entry("", words, 16, svg("rect", { class: `leaf ${classes}`, x: 2, y: 2, width: 12, height: 12 }));
  const also = latent("also", "in the cut nearest the visible part");
  also.id = "legend-also";
  at("legend").replaceChildren(
    latent("frontier", "in c, frontier"),
    latent("member", "in c"),
    latent("", "not in c"),
    also,
    latent("", "chosen for a design", "chosen"),
    leaf("masked", "masked"),
    leaf("", "visible"),
  );
}
