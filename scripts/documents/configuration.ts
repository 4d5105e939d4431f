// .env.example and docs/configuration.md, from the schemas in src/config.ts.
import { readFileSync } from "node:fs";
import { z } from "zod";
import { agentConfigSchema, clientConfigSchema, serverConfigSchema } from "../../src/config.js";
import { packagePath } from "../../src/package-root.js";
import { fill, table, type Document } from "./document.js";
import { typeOf, type FieldSchema } from "./field-table.js";

interface Variable {
  readonly name: string;
  /** What it may hold, in words. */
  readonly holds: string;
  /** As it would be written in the environment; null: there is none. */
  readonly standard: string | null;
  readonly required: boolean;
  readonly description: string;
}

const GROUPS = [
  { title: "Control plane", commands: "`trainyard up`, `trainyard server`, `trainyard migrate`", part: "server", schema: serverConfigSchema },
  { title: "Agent", commands: "`trainyard agent`, and the agent of `trainyard up`", part: "agent", schema: agentConfigSchema },
  { title: "Command line", commands: "all other commands", part: "client", schema: clientConfigSchema },
] as const;

/** Variables that docker-compose.yml reads from .env by itself. */
const COMPOSE: readonly { name: string; standard: string; description: string }[] = [
  { name: "TRAINYARD_POSTGRES_PASSWORD", standard: "", description: "Required: password of the database. Letters and digits only, for it becomes part of a URL: openssl rand -hex 24" },
  { name: "TRAINYARD_REDIS_PASSWORD", standard: "", description: "Required: password of the control plane's Redis user. Letters and digits only: openssl rand -hex 24" },
  { name: "TRAINYARD_PUBLISH", standard: "127.0.0.1:7070", description: "Address and port of the host on which the control plane is published." },
  { name: "TRAINYARD_GPU_BASE_IMAGE", standard: "nvidia/cuda:12.8.1-runtime-ubuntu24.04", description: "Image that the GPU agent is built on: one that holds your Python, torch and verl." },
];

/** The variables of a schema of src/config.ts, in the order in which they stand there. */
export function variablesOf(schema: z.ZodObject): Variable[] {
  const { properties } = z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }) as { properties: Record<string, FieldSchema> };
  return Object.entries(properties).map(([name, field]) => {
    if (field.description === undefined) throw new Error(`${name} has no description: give it a .describe() in src/config.ts.`);
    const standard = schema.shape[name] === undefined ? undefined : field.default;
    return {
      name,
      holds: Array.isArray(standard) || field.type === undefined ? "list" : typeOf(field),
      standard: standard === undefined ? null : Array.isArray(standard) ? standard.join(",") : String(standard),
      required: !(schema.shape[name] as z.ZodType).safeParse(undefined).success,
      description: field.description,
    };
  });
}

/** Every variable the compose file substitutes beside those of the schemas. */
export const COMPOSE_VARIABLES: readonly string[] = COMPOSE.map(({ name }) => name);

export const environmentExample: Document = {
  path: ".env.example",
  render() {
    const seen = new Set<string>();
    const groups = GROUPS.map(({ title, schema }) => {
      const lines = variablesOf(schema).filter(({ name }) => !seen.has(name)).map((variable) => {
        seen.add(variable.name);
        return `# ${variable.description}\n#${variable.name}=${quoted(variable.standard ?? "")}`;
      });
      return `# ── ${title.toLowerCase()} ${"─".repeat(60 - title.length)}\n\n${lines.join("\n\n")}`;
    });
    const compose = COMPOSE.map(({ name, standard, description }) => `# ${description}\n${standard === "" ? "" : "#"}${name}=${standard}`);
    return [
      "# Copy to .env and change what you need: docker compose reads that file by itself; elsewhere load it with `set -a; . ./.env; set +a`.",
      "# A line that is commented out shows the default. Made by `npm run generate` from src/config.ts: do not edit.",
      "",
      `# ── docker-compose.yml ${"─".repeat(42)}`,
      "",
      compose.join("\n\n"),
      "",
      groups.join("\n\n"),
      "",
    ].join("\n");
  },
};

export const configurationReference: Document = {
  path: "docs/configuration.md",
  render: () =>
    fill(readFileSync(packagePath("scripts/documents/templates/configuration.md"), "utf8"), {
      ...Object.fromEntries(GROUPS.map(({ part, title, commands, schema }) => [part, `## ${title}\n\nRead by ${commands}.\n\n${variableTable(variablesOf(schema))}`])),
      compose: table(["variable", "default", "meaning"], COMPOSE.map(({ name, standard, description }) => [`\`${name}\``, standard === "" ? "–" : `\`${standard}\``, description])),
    }),
};

function variableTable(variables: readonly Variable[]): string {
  return table(
    ["variable", "holds", "default", "meaning"],
    variables.map(({ name, holds, standard, required, description }) => [`\`${name}\``, holds, required ? "**required**" : standard === null || standard === "" ? "–" : `\`${standard}\``, description]),
  );
}

function quoted(value: string): string {
  return /[\s;#$"']/.test(value) ? `'${value}'` : value;
}
