// References: `${stages.<name>.outputs.<key>}` inside any string of params or `when`. A string that is one reference alone takes the value with its type; inside
// a longer text the value is written out. `$${stages.…}` stays as text with one dollar sign. Any other `${…}` is none of our business (programs contain them).

import type { Json, Outputs } from "./state.js";

export interface Reference {
  readonly stage: string;
  /** What follows `outputs.`: a key, or keys joined by dots. */
  readonly key: string;
  readonly text: string;
}

const PATTERN = /(\$?)\$\{(stages|pipeline)\.([^{}]*)\}/g;
const STAGE_OUTPUT = /^(.+?)\.outputs\.(.+)$/;

/** A reference that does not read as one, or that names something a submission does not know. */
export interface MalformedReference { readonly text: string; readonly why: string }

/** All references within a value, with the JSON path at which each stands. */
export function findReferences(value: unknown, path: string): { path: string; reference: Reference | MalformedReference }[] {
  const found: { path: string; reference: Reference | MalformedReference }[] = [];
  walk(value, path);
  return found;

  function walk(at: unknown, here: string): void {
    if (typeof at === "string") {
      if (!at.includes("${")) return;
      for (const match of at.matchAll(PATTERN)) if (match[1] === "") found.push({ path: here, reference: parse(match[0]!, match[2]!, match[3]!) });
    } else if (Array.isArray(at)) at.forEach((item, index) => walk(item, `${here}[${index}]`));
    else if (typeof at === "object" && at !== null) for (const [key, item] of Object.entries(at)) walk(item, `${here}.${key}`);
  }
}

/** A reference whose stage has no such output. */
export class MissingOutputError extends Error {
  readonly reference: Reference;
  constructor(reference: Reference, available: readonly string[]) {
    super(
      `${reference.text}: stage "${reference.stage}" left no output "${reference.key}". ` +
        (available.length === 0 ? "It left no outputs at all." : `It left: ${available.slice(0, 20).join(", ")}${available.length > 20 ? ", …" : ""}.`),
    );
    this.reference = reference;
  }
}

/** The value with every reference replaced. `outputsOf` answers a completed stage's outputs. Throws MissingOutputError. */
export function resolveReferences(value: unknown, outputsOf: (stage: string) => Outputs | null): Json {
  if (typeof value === "string") return resolveText(value, outputsOf);
  if (Array.isArray(value)) return value.map((item) => resolveReferences(item, outputsOf));
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolveReferences(item, outputsOf)]));
  return value as Json;
}

function resolveText(text: string, outputsOf: (stage: string) => Outputs | null): Json {
  if (!text.includes("${")) return text;
  const whole = /^\$\{(stages|pipeline)\.([^{}]*)\}$/.exec(text);
  if (whole !== null) return lookUp(parse(text, whole[1]!, whole[2]!), outputsOf);
  return text.replace(PATTERN, (match, escape: string, root: string, rest: string) => {
    if (escape !== "") return match.slice(1);
    const found = lookUp(parse(match, root, rest), outputsOf);
    return typeof found === "string" ? found : JSON.stringify(found);
  });
}

function parse(text: string, root: string, rest: string): Reference | MalformedReference {
  if (root === "pipeline") {
    return { text, why: rest === "directory" ? "is filled in by the command line when a file is submitted; over the API write the path itself" : "names nothing known" };
  }
  const match = STAGE_OUTPUT.exec(rest);
  if (match === null) return { text, why: "must read ${stages.<name>.outputs.<key>}" };
  return { stage: match[1]!, key: match[2]!, text };
}

function lookUp(reference: Reference | MalformedReference, outputsOf: (stage: string) => Outputs | null): Json {
  if (!("stage" in reference)) throw new Error(`${reference.text} passed validation but ${reference.why}`);
  const outputs = outputsOf(reference.stage);
  const value = outputs === null ? undefined : pick(outputs, reference.key);
  if (value === undefined) throw new MissingOutputError(reference, Object.keys(outputs ?? {}));
  return value;
}

/** Output keys may hold dots themselves: the longest key that exists wins. */
function pick(from: Json, path: string): Json | undefined {
  if (typeof from !== "object" || from === null) return undefined;
  const record = from as Record<string, Json>;
  if (Object.hasOwn(record, path)) return record[path];
  for (let dot = path.lastIndexOf("."); dot > 0; dot = path.lastIndexOf(".", dot - 1)) {
    const key = path.slice(0, dot);
    if (!Object.hasOwn(record, key)) continue;
    const value = pick(record[key]!, path.slice(dot + 1));
    if (value !== undefined) return value;
  }
  return undefined;
}
