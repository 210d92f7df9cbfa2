// The observed variables: a grid of cells, or a list of names; click, drag or press space to mask and unmask.
import { at, element } from "./elements.js";

const MANY = 400;

/** The cells of an explorer. `point` is told which cell the pointer or the focus is on. */
export class Cells {
  constructor(explorer, point) {
    this.explorer = explorer;
    this.point = point;
    this.home = at("cells");
    this.painting = null;
    this.home.addEventListener("pointerdown", (event) => this.press(event));
    this.home.addEventListener("pointermove", (event) => this.move(event));
    this.home.addEventListener("pointerleave", () => this.point(null));
    for (const kind of ["pointerup", "pointercancel"]) window.addEventListener(kind, () => (this.painting = null));
    this.home.addEventListener("keydown", (event) => this.key(event));
    this.home.addEventListener("focusin", (event) => this.point(this.placeOf(event.target)));
    this.home.addEventListener("focusout", () => this.point(null));
  }

  build() {
    const { graph } = this.explorer;
    const [, columns] = graph.grid ?? [1, graph.nObserved];
    this.columns = columns;
    this.shown = new Uint8Array(graph.nObserved);
    this.near = new Set();
    this.cells = graph.observed.map((name, i) =>
      element(
        "div",
        {
          class: "cell",
          role: "gridcell",
          tabindex: i ? -1 : 0,
          "data-cell": i,
          "aria-selected": "false",
          "aria-label": `${name}, visible`,
          title: name,
        },
        ...(graph.grid ? [] : [name]),
      ),
    );
    const rows = [];
    for (let i = 0; i < this.cells.length; i += columns) {
      rows.push(
        element("div", { class: graph.grid ? "row" : "list", role: "row" }, ...this.cells.slice(i, i + columns)),
      );
    }
    const holder = element(
      "div",
      {
        class: graph.grid ? "grid" : "",
        role: "grid",
        "aria-multiselectable": "true",
        "aria-label": `Cells to mask; arrow keys move, space masks or unmasks`,
      },
      ...rows,
    );
    if (graph.grid) {
      holder.style.grid = `repeat(${graph.grid[0]}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
      holder.style.aspectRatio = `${columns} / ${graph.grid[0]}`;
    }
    this.home.classList.toggle("many", graph.nObserved > MANY);
    this.home.replaceChildren(holder);
    this.update();
  }

  /** Show the mask: only what has changed is touched. */
  update() {
    const { mask, graph } = this.explorer;
    mask.forEach((hidden, i) => {
      if (hidden === this.shown[i]) return;
      this.shown[i] = hidden;
      this.cells[i].setAttribute("aria-selected", hidden ? "true" : "false");
      this.cells[i].setAttribute("aria-label", `${graph.names[graph.nLatents + i]}, ${hidden ? "masked" : "visible"}`);
    });
  }

  /** Mark cells that belong to what is pointed at. */
  highlight(cells) {
    for (const i of this.near) if (!cells.has(i)) this.cells[i]?.classList.remove("near");
    for (const i of cells) if (!this.near.has(i)) this.cells[i].classList.add("near");
    this.near = new Set(cells);
  }

  placeOf(target) {
    const cell = target?.closest?.("[data-cell]");
    return cell && this.home.contains(cell) ? Number(cell.dataset.cell) : null;
  }

  press(event) {
    const i = this.placeOf(event.target);
    if (i === null || event.button > 0) return;
    event.preventDefault();
    this.painting = this.explorer.mask[i] ? 0 : 1;
    this.focus(i);
    this.explorer.paint(i, this.painting);
  }

  move(event) {
    const i = this.placeOf(document.elementFromPoint(event.clientX, event.clientY));
    if (this.painting !== null && i !== null) this.explorer.paint(i, this.painting);
    this.point(i);
  }

  key(event) {
    const i = this.placeOf(event.target),
      last = this.cells.length - 1,
      row = Math.floor((i ?? 0) / this.columns);
    if (i === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
      ArrowRight: i + 1,
      ArrowLeft: i - 1,
      ArrowDown: i + this.columns,
      ArrowUp: i - this.columns,
      Home: row * this.columns,
      End: Math.min(last, (row + 1) * this.columns - 1),
    };
    if (event.key === " " || event.key === "Enter") this.explorer.paint(i, this.explorer.mask[i] ? 0 : 1);
    else if (event.key in moves) {
      const to = moves[event.key];
      if (to >= 0 && to <= last) {
        if (event.shiftKey) this.explorer.paint(to, this.explorer.mask[i]);
        this.focus(to);
      }
    } else return;
    event.preventDefault();
  }

  focus(i) {
    this.home.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    this.cells[i].setAttribute("tabindex", "0");
    this.cells[i].focus({ preventScroll: true });
    this.cells[i].scrollIntoView?.({ block: "nearest", inline: "nearest" });
  }
}
