// What zod finds wrong, in the words of people who write specifications. A schema that gives its own message keeps it.

import type { z } from "zod";
import { excerpt } from "../errors.js";

/** Names of the kinds of values, with their article. */
const KINDS: Readonly<Record<string, string>> = {
  array: "a list", object: "an object", record: "an object", string: "a text", number: "a number", int: "a whole number", boolean: "true or false", null: "null", undefined: "nothing",
};
const UNITS: Readonly<Record<string, readonly [one: string, many: string]>> = { string: ["character", "characters"], array: ["entry", "entries"], set: ["entry", "entries"], record: ["key", "keys"], object: ["key", "keys"] };
/** Values listed at most. */
const LISTED = 20;

/** As zod's `error` of a parse: what is needed here, and what was found instead. */
export const issueWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case "invalid_type": return issue.input === undefined ? `${kindOf(issue.expected, true)} is needed.` : `${kindOf(issue.expected, true)} is needed, not ${found(issue.input)}.`;
    case "invalid_value": {
      const values = issue.values.map((value) => (typeof value === "string" ? value : JSON.stringify(value)));
      const listed = values.length > LISTED ? `${values.slice(0, LISTED).join(", ")} … (${values.length} in all)` : values.join(", ");
      return `${values.length === 1 ? "" : "One of "}${listed} is needed${issue.input === undefined ? "" : `, not ${found(issue.input)}`}.`;
    }
    case "too_small": return `${bound(issue.origin, issue.inclusive === false ? "More than" : "At least", Number(issue.minimum))}${given(issue.origin, issue.input)}.`;
    case "too_big": return `${bound(issue.origin, issue.inclusive === false ? "Less than" : "At most", Number(issue.maximum))}${given(issue.origin, issue.input)}.`;
    case "invalid_union": return issue.input === undefined ? "A value is needed." : `No form that is allowed here fits ${found(issue.input)}.`;
    default: return undefined;
  }
};

function kindOf(name: string, first = false): string {
  const kind = KINDS[name] ?? name;
  return first ? kind.charAt(0).toUpperCase() + kind.slice(1) : kind;
}

function found(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "an object";
  return typeof value === "string" ? `the text ${JSON.stringify(excerpt(value))}` : String(value);
}

function bound(origin: string, words: string, limit: number): string {
  const unit = UNITS[origin];
  return unit === undefined ? `${words} ${limit} is needed` : `${words} ${limit} ${limit === 1 ? unit[0] : unit[1]} ${limit === 1 ? "is" : "are"} needed`;
}

function given(origin: string, value: unknown): string {
  if (Array.isArray(value) || typeof value === "string") return value.length === 0 ? ", and there is none" : `, and there are ${value.length}`;
  return origin === "number" || origin === "int" ? `, not ${String(value)}` : "";
}
