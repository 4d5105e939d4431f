// Takes secrets out of text, in the forms in which programs print them: as they are, line by line, base64 in any alignment, URL-encoded, escaped for JSON.
//   R1. Text whose end may be the beginning of a secret is not given out before more of it is known (`safeLength`): no chunk border hides a secret.

import type { Json } from "../../domain/pipeline/state.js";

/** Shorter values are not redacted: they would turn up everywhere by chance. */
export const SHORTEST_SECRET = 4;
const MARK = "[redacted]";

export interface Redactor {
  /** The text without secrets. */
  redact(text: string): string;
  /** How much of the beginning of `text` may be given out (redacted on its own) while more may follow (R1). A secret never straddles that place. */
  safeLength(text: string): number;
}

/** A redactor for these values. Without any it costs nothing. */
export function createRedactor(secrets: readonly string[]): Redactor {
  const forms = [...new Set(secrets.flatMap(formsOf))].filter((form) => form.length >= SHORTEST_SECRET).sort((a, b) => b.length - a.length);
  if (forms.length === 0) return { redact: (text) => text, safeLength: (text) => text.length };
  const pattern = new RegExp(forms.map((form) => form.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"), "g");
  const longest = forms[0]?.length ?? 0;

  return {
    redact: (text) => text.replace(pattern, MARK),
    safeLength(text) {
      let safe = text.length;
      for (let start = Math.max(0, text.length - longest + 1); start < text.length; start++) {
        const tail = text.slice(start);
        if (forms.some((form) => form.length > tail.length && form.startsWith(tail))) {
          safe = start;
          break;
        }
      }
      for (const match of text.matchAll(pattern)) if (match.index < safe && match.index + match[0].length > safe) safe = match.index;
      return safe;
    },
  };
}

/** A value of JSON without secrets, in its texts and in its names. */
export function redactJson(value: Json, redactor: Redactor): Json {
  if (typeof value === "string") return redactor.redact(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => redactJson(item, redactor));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [redactor.redact(name), redactJson(item, redactor)]));
}

function formsOf(secret: string): string[] {
  const lines = secret.split(/\r?\n/).map((line) => line.trim());
  const parts = lines.length > 1 ? [secret, ...lines.filter((line) => line.length >= 8)] : [secret];
  return parts.flatMap((part) => {
    const bytes = Buffer.from(part);
    return [part, ...base64Forms(bytes), encodeURIComponent(part), encodeURIComponent(part).replaceAll("%20", "+"), JSON.stringify(part).slice(1, -1), bytes.length >= 8 ? bytes.toString("hex") : ""];
  });
}

/** What stays the same of a value's base64 whatever stands before and after it, for the three alignments, in both alphabets. */
function base64Forms(bytes: Buffer): string[] {
  if (bytes.length < 6) return [bytes.toString("base64"), bytes.toString("base64url")];
  return [0, 1, 2].flatMap((shift) => {
    const shifted = Buffer.concat([Buffer.alloc(shift), bytes]);
    const from = shift === 0 ? 0 : shift + 1;
    const to = Math.floor((shifted.length * 8) / 6);
    return [shifted.toString("base64").slice(from, to), shifted.toString("base64url").slice(from, to)];
  });
}
