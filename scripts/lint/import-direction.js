// A lint rule: imports between the folders of src/ point one way only. `cli → server → schema → actors, access → db, bus, hosts → protocol → domain` for the
// control plane, `cli → agent → bus, hosts, verl → protocol → domain` for the daemon, which never sees Postgres. Paths are resolved, so a subfolder that happens to be
// called like a layer is no violation.
import { dirname, relative, resolve, sep } from "node:path";

const BASE = ["protocol", "domain"];
const STORES = ["db", "bus", "hosts", ...BASE];

/** What each folder may import from, itself excepted. Files directly in src/ (configuration, the package's place) are the layer "root". */
export const MAY_IMPORT = {
  domain: [],
  protocol: ["domain"],
  bus: ["root", ...BASE],
  db: ["root", ...BASE],
  hosts: ["root", ...BASE],
  verl: ["root", ...BASE],
  data: ["root", ...BASE],
  evaluation: ["root", "data", "verl", ...BASE],
  simulation: ["root", "data", "verl", ...BASE],
  registry: ["root", "data", "db", ...BASE],
  access: ["root", "db", "hosts", ...BASE],
  actors: ["root", "verl", ...STORES],
  schema: ["root", "actors", "access", "registry", "verl", ...STORES],
  server: ["root", "schema", "actors", "access", "registry", "data", "verl", ...STORES],
  agent: ["root", "bus", "hosts", "verl", "data", "evaluation", "simulation", ...BASE],
  cli: ["root", "server", "agent", "schema", "actors", "access", "registry", "verl", "data", "evaluation", "simulation", ...STORES],
  root: BASE,
};

/** The layer of an absolute path, or null outside `sourceRoot`. */
function layerOf(sourceRoot, path) {
  const parts = relative(sourceRoot, path).split(sep);
  if (parts[0] === "..") return null;
  return parts.length === 1 ? "root" : parts[0];
}

/** Option: the absolute path of src/. */
export const importDirection = {
  meta: {
    type: "problem",
    schema: [{ type: "object", properties: { sourceRoot: { type: "string" } }, required: ["sourceRoot"], additionalProperties: false }],
    messages: {
      wrongWay: "src/{{from}} may not import src/{{to}}: imports point the other way. Move what both need to a layer below, or pass it in as a dependency.",
      unknownLayer: "src/{{from}} is no known layer. Give it a line in scripts/lint/import-direction.js and a row in ARCHITECTURE.md.",
      outside: "src/ imports nothing outside itself but packages: {{path}}.",
    },
  },
  create(context) {
    const { sourceRoot } = context.options[0];
    const from = layerOf(sourceRoot, context.filename);
    if (from === null) return {};
    function check(node) {
      const specifier = node.source?.value;
      if (typeof specifier !== "string" || !specifier.startsWith(".")) return;
      const target = resolve(dirname(context.filename), specifier);
      const to = layerOf(sourceRoot, target);
      if (to === null) context.report({ node, messageId: "outside", data: { path: specifier } });
      else if (!Object.hasOwn(MAY_IMPORT, from)) context.report({ node, messageId: "unknownLayer", data: { from } });
      else if (to !== from && !MAY_IMPORT[from].includes(to)) context.report({ node, messageId: "wrongWay", data: { from, to } });
    }
    return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check, ImportExpression: check };
  },
};
