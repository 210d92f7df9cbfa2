// Curves over the masking ratio, one per height; each has its own dashes and its name at its end.
import { svg } from "./elements.js";

const HEIGHT = 210,
  LEFT = 42,
  RIGHT = 92,
  TOP = 12,
  BOTTOM = 34;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4"];
export const MOST_CURVES = 6;

/**
 * A chart of shares over ratios.
 *
 * @param curves [{name, points: [[ratio, share]]}]
 * @param here the present ratio
 * @param words what is on the vertical axis
 * @param WIDTH pixels there are
 */
export function chart(curves, here, words, WIDTH) {
  const x = (ratio) => LEFT + ratio * (WIDTH - LEFT - RIGHT);
  const y = (share) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  const text = (at, up, words, anchor = "middle", rest = {}) =>
    svg("text", { class: "tick", x: at, y: up, "text-anchor": anchor, ...rest }, words);
  const parts = [
    svg("path", { class: "axis", fill: "none", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }),
  ];
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(text(x(tick), HEIGHT - BOTTOM + 15, String(tick)), text(LEFT - 6, y(tick) + 4, String(tick), "end"));
  }
  parts.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "share of the units that is masked"));
  parts.push(
    text(12, (TOP + HEIGHT - BOTTOM) / 2, words, "middle", {
      transform: `rotate(-90 12 ${(TOP + HEIGHT - BOTTOM) / 2})`,
    }),
  );
  parts.push(svg("path", { class: "here", d: `M${x(here)} ${TOP}V${HEIGHT - BOTTOM}` }));
  const ends = [];
  curves.forEach(({ name, points }, i) => {
    const known = points.filter(([, share]) => Number.isFinite(share));
    if (!known.length) return;
    const path = known
      .map(([ratio, share], k) => `${k ? "L" : "M"}${x(ratio).toFixed(1)} ${y(share).toFixed(1)}`)
      .join("");
    parts.push(svg("path", { class: "curve", d: path, stroke: COLOURS[i], "stroke-dasharray": DASHES[i] }));
    if (known.length === 1)
      parts.push(svg("circle", { cx: x(known[0][0]), cy: y(known[0][1]), r: 3, fill: COLOURS[i] }));
    ends.push({ name, i, at: y(known.at(-1)[1]) });
  });
  ends.sort((a, b) => a.at - b.at);
  ends.forEach((end, k) => (end.at = Math.max(end.at, k ? ends[k - 1].at + 14 : TOP + 4)));
  const over = Math.max(0, (ends.at(-1)?.at ?? 0) - (HEIGHT - BOTTOM));
  ends.forEach((end, k) => {
    const up = Math.max(end.at - over, TOP + 4 + 14 * k);
    parts.push(
      svg("path", {
        class: "curve",
        d: `M${WIDTH - RIGHT + 6} ${up}h16`,
        stroke: COLOURS[end.i],
        "stroke-dasharray": DASHES[end.i],
      }),
    );
    parts.push(text(WIDTH - RIGHT + 26, up + 4, end.name, "start"));
  });
  const told = curves.map(({ name }) => name).join(", ");
  return svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: "img",
      "aria-label": `${words} over the masking ratio, by height: ${told}. The table below has the numbers.`,
    },
    ...parts,
  );
}
