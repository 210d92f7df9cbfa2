// Elements of the page. Text is always set as text, never as markup, so that names can hold anything.

/** An HTML element with attributes ("on…" are listeners) and children: elements or texts. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** The element of an id. */
export function at(id) {
  return document.getElementById(id);
}

/** A list of names that is cut where it is long. */
export function listed(names, most = 12) {
  if (!names.length) return "none";
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/** "1 latent", "2 latents". */
export function counted(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

/** Run a generator in short turns; a newer run with the same token stops it. */
export class Turns {
  constructor() {
    this.run = 0;
  }

  start(generator, done) {
    const run = ++this.run;
    const turn = () => {
      if (run !== this.run) return;
      const end = performance.now() + 8;
      do {
        const { value, done: over } = generator.next();
        if (over) return;
        if (value) done(value);
      } while (performance.now() < end);
      setTimeout(turn, 0);
    };
    setTimeout(turn, 0); // what is at hand is shown first
  }
}
