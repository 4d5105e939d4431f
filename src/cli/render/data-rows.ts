// Rows of data sets as people read them: dialogues as dialogues, everything else as fields.
import type { Json } from "../../domain/pipeline/state.js";
import type { Style } from "../style.js";
import { count } from "./quantities.js";
import { harmless } from "./text-width.js";

export interface RowLimits {
  /** Characters and lines of one text that are shown; null: all. */
  readonly characters: number | null;
  readonly lines: number | null;
}

/** Enough to see what a row is about. */
export const GLANCE: RowLimits = { characters: 1_200, lines: 15 };
export const WHOLE: RowLimits = { characters: null, lines: null };

/** A row under a heading with its number. */
export function describeRow(row: number, value: Json, style: Style, limits: RowLimits): string[] {
  return [style.bold(`row ${count(row)}`), ...fieldsOf(value, style, limits).map((line) => `  ${line}`), ""];
}

function fieldsOf(value: Json, style: Style, limits: RowLimits): string[] {
  if (!isObject(value)) return textLines(typeof value === "string" ? value : JSON.stringify(value), limits, style);
  return Object.entries(value).flatMap(([name, field]) => {
    const messages = messagesOf(field);
    const title = style.dim(harmless(name));
    if (messages !== null) {
      return [title, ...messages.flatMap(({ role, text }) => labelled(roleStyle(style, role)(harmless(role)), text, style, limits).map((line) => `  ${line}`))];
    }
    return labelled(title, typeof field === "string" ? field : JSON.stringify(field), style, limits);
  });
}

/** `label: text` on one line, or the text below its label. */
function labelled(label: string, text: string, style: Style, limits: RowLimits): string[] {
  const lines = textLines(text, limits, style);
  return lines.length === 1 && lines[0]!.length <= 200 ? [`${label}: ${lines[0]!}`] : [`${label}:`, ...lines.map((line) => `  ${line}`)];
}

function textLines(text: string, limits: RowLimits, style: Style): string[] {
  const shown = limits.characters === null ? text : text.slice(0, limits.characters).toWellFormed();
  const all = shown.split(/\r?\n/);
  const lines = limits.lines === null ? all : all.slice(0, limits.lines);
  const left = text.length - lines.join("\n").length;
  const hidden = shown.length < text.length || lines.length < all.length;
  return [...lines.map(harmless), ...(hidden ? [style.dim(`… (${count(left)} characters more; --full shows them)`)] : [])];
}

/** The messages of OpenAI's or ShareGPT's form; null when it is no dialogue. */
export function messagesOf(value: Json | undefined): readonly { readonly role: string; readonly text: string }[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const messages: { role: string; text: string }[] = [];
  for (const one of value as readonly Json[]) {
    if (!isObject(one)) return null;
    const [role, text] = "role" in one ? [one["role"], one["content"]] : [one["from"], one["value"]];
    if (typeof role !== "string" || text === undefined) return null;
    messages.push({ role, text: typeof text === "string" ? text : JSON.stringify(text) });
  }
  return messages;
}

function roleStyle(style: Style, role: string): (text: string) => string {
  switch (role) {
    case "user": case "human": return style.cyan;
    case "assistant": case "gpt": return style.green;
    case "system": return style.yellow;
    default: return style.bold;
  }
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
