// What is shown, as text for other programs.
import { repr } from "./python.js";

/** Python that asks hlvm the same questions. */
export function asPython(explorer) {
  const { graph, entry, regime } = explorer;
  const lines = ["from hlvm.graph import LatentGraph", "from hlvm.masking import Patches, RandomMask"];
  lines.push("from hlvm.theory import design_mask, level_profile, shared_information, target_ancestors", "");
  lines.push(
    entry.height
      ? `graph = LatentGraph.quadtree(${entry.height})`
      : `graph = LatentGraph.from_dict(${literal(graph.description)})`,
  );
  lines.push(`masked = ${literal(explorer.maskedNames)}`);
  lines.push(`shared = shared_information(graph, masked, regime="${regime}")`);
  lines.push("print(sorted(shared.members), sorted(shared.frontier), shared.dim)");
  lines.push(`targets = target_ancestors(graph, masked, regime="${regime}")`);
  if (explorer.unit.python || explorer.target.size || regime === "invertible") {
    lines.push(`patches = ${explorer.unit.python ?? "Patches.cells(graph)"}`);
  }
  if (regime === "invertible" && explorer.unit.n > 1) {
    lines.push(`masks = [RandomMask(ratio=${explorer.m} / ${explorer.unit.n}, patches=patches)]`);
    lines.push("print(level_profile(graph, masks).share)");
  }
  if (explorer.target.size) {
    lines.push(`target = ${literal(explorer.names(explorer.target))}`);
    lines.push("print(design_mask(graph, target, patches=patches))");
  }
  return `${lines.join("\n")}\n`;
}

/** The masked names as a JSON list, which hlvm theory and hlvm check take after --mask-file. */
export function maskAsJson(explorer) {
  return `${JSON.stringify(explorer.maskedNames)}\n`;
}

/** The graph as JSON, which LatentGraph.load and every command take. */
export function graphAsJson(explorer) {
  return `${JSON.stringify(explorer.graph.description)}\n`;
}

/** Plain values as Python writes them. */
function literal(value) {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return repr(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return `{${Object.entries(value)
    .map(([key, of]) => `${repr(key)}: ${literal(of)}`)
    .join(", ")}}`;
}
