// Hydra's override grammar, read the other way than src/verl/hydra.ts writes it: `key=value`, `+key=value`, `++key=value` with quoted texts, lists and dictionaries.
//   G1. Unquoted text ends at , = ( ) [ ] { } ; # is no letter of it. null, true, false and numbers are what they look like; in quotes everything is text.
//   G2. In quotes a backslash counts only before a quote (or in the run of them that ends the text); an interpolation is escaped by one before `${`.

import type { OverrideValue } from "../domain/training/train-params.js";

/** `mode`: "set" must exist, "add" must not, "force" may. */
export interface GivenOverride { readonly mode: "set" | "add" | "force"; readonly key: string; readonly value: OverrideValue; readonly text: string }

/** What Hydra says about an override that it cannot read. */
export class OverrideParseError extends Error {
  constructor(text: string) {
    super(`no viable alternative at input '${text}'\nSee https://hydra.cc/docs/1.2/advanced/override_grammar/basic for details`);
  }
}

/** Throws OverrideParseError. */
export function readOverride(argument: string): GivenOverride {
  const match = /^(\+{0,2})([A-Za-z_][\w.\-/]*)=/.exec(argument);
  if (match === null) throw new OverrideParseError(argument);
  const text = argument.slice(match[0].length);
  const reader = createReader(text, argument);
  const value = text.trim() === "" ? "" : reader.value();
  reader.end();
  return { mode: (["set", "add", "force"] as const)[match[1]!.length as 0 | 1 | 2], key: match[2]!, value, text };
}

interface Reader { value(): OverrideValue; end(): void }

function createReader(text: string, argument: string): Reader {
  let at = 0;
  const refuse = (): never => { throw new OverrideParseError(argument.slice(0, argument.length - text.length + Math.min(text.length, at + 1))); };
  const skip = (): void => { while (text[at] === " " || text[at] === "\t") at++; };
  const take = (wanted: string): boolean => {
    skip();
    if (text[at] !== wanted) return false;
    at++;
    return true;
  };

  function value(): OverrideValue {
    skip();
    const next = text[at];
    if (next === "'" || next === '"') return quoted(next);
    if (next === "[") return list();
    if (next === "{") return dictionary();
    return plain();
  }

  function list(): OverrideValue[] {
    at++;
    const items: OverrideValue[] = [];
    if (take("]")) return items;
    do items.push(value()); while (take(","));
    if (!take("]")) refuse();
    return items;
  }

  function dictionary(): Record<string, OverrideValue> {
    at++;
    const entries: Record<string, OverrideValue> = {};
    if (take("}")) return entries;
    do {
      skip();
      const key = /^[A-Za-z_][\w.\-]*/.exec(text.slice(at))?.[0] ?? refuse();
      at += key.length;
      if (!take(":")) refuse();
      entries[key] = value();
    } while (take(","));
    if (!take("}")) refuse();
    return entries;
  }

  /** G2. */
  function quoted(quote: string): string {
    at++;
    let found = "";
    for (;;) {
      if (at >= text.length) refuse();
      const slashes = /^\\*/.exec(text.slice(at))![0].length;
      at += slashes;
      const beforeQuote = text[at] === quote;
      found += "\\".repeat(beforeQuote ? Math.floor(slashes / 2) : slashes);
      if (!beforeQuote) found += text[at++] ?? "";
      else {
        at++;
        if (slashes % 2 === 0) return found.replace(/(\\+)\$\{/g, (_all, run: string) => `${"\\".repeat(Math.floor(run.length / 2))}\${`);
        found += quote;
      }
    }
  }

  /** G1. */
  function plain(): OverrideValue {
    const word = /^[^,=()[\]{}#;'"]+/.exec(text.slice(at))?.[0].trimEnd() ?? refuse();
    if (/[^\x20-\x7e]/.test(word) || word.startsWith("~")) refuse();
    at += word.length;
    switch (word.toLowerCase()) {
      case "null": return null;
      case "true": return true;
      case "false": return false;
      default: return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(word) ? Number(word) : word;
    }
  }

  return { value, end: () => { skip(); if (at < text.length) refuse(); } };
}
