// Reads lists of messages: OpenAI's {role, content}, ShareGPT's {from, value}, and transcripts in one text as HH-RLHF writes them.

import { scalarText, valueOf, type RecordValue } from "./columns.js";
import { Reject, shown } from "./reject.js";
import type { Message, Role } from "./training-row.js";

const ROLE_NAMES: ReadonlyMap<string, Role> = new Map<string, Role>([
  ["system", "system"], ["developer", "system"],
  ["user", "user"], ["human", "user"],
  ["assistant", "assistant"], ["gpt", "assistant"], ["chatgpt", "assistant"], ["bot", "assistant"], ["model", "assistant"], ["ai", "assistant"],
  ["tool", "tool"], ["function", "tool"], ["observation", "tool"],
]);

const TEXT_PARTS: ReadonlySet<unknown> = new Set(["text", "input_text", "output_text", undefined]);

/** The messages of a column: a list, one message, or (as CSV has it) a list written as JSON text. Their order is judged elsewhere. */
export function readMessages(raw: unknown, column: string): readonly Message[] | Reject {
  if (typeof raw === "string") return readJsonText(raw, column);
  const list: unknown = isMessage(raw) ? [raw] : raw;
  if (!Array.isArray(list)) return new Reject("WRONG_TYPE", `Column "${column}" holds ${shown(raw)} where a list of messages is expected.`);
  const messages: Message[] = [];
  for (let index = 0; index < list.length; index++) {
    const message = readMessage(list[index], `Column "${column}", message ${index + 1}`);
    if (message instanceof Reject) return message;
    messages.push(message);
  }
  return messages;
}

function isMessage(raw: unknown): boolean {
  return raw !== null && typeof raw === "object" && (Object.hasOwn(raw, "role") || Object.hasOwn(raw, "from"));
}

function readJsonText(text: string, column: string): readonly Message[] | Reject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = null;
  }
  if (!Array.isArray(parsed)) return new Reject("WRONG_TYPE", `Column "${column}" holds the text ${shown(text)} where a list of messages is expected, as such or as JSON text.`);
  const messages = readMessages(parsed, column);
  if (messages instanceof Reject) return messages;
  // The reader has judged the text; its escapes become characters only here.
  for (const { content } of messages) {
    if (content.includes("\0")) return new Reject("NUL_CHARACTER", `Column "${column}": a message holds a NUL character.`);
    if (!content.isWellFormed()) return new Reject("LONE_SURROGATE", `Column "${column}": a message holds half a surrogate pair.`);
  }
  return messages;
}

function readMessage(raw: unknown, where: string): Message | Reject {
  if (raw === null || typeof raw !== "object" || Array.isArray(raw)) return new Reject("WRONG_TYPE", `${where}: ${shown(raw)} where {role, content} or {from, value} is expected.`);
  const value = raw as RecordValue;
  const name = valueOf(value, "role") ?? valueOf(value, "from");
  if (typeof name !== "string") return new Reject("INVALID_ROLE", `${where}: the role is ${name === undefined ? "missing" : shown(name)}.`);
  const role = ROLE_NAMES.get(name) ?? ROLE_NAMES.get(name.trim().toLowerCase());
  if (role === undefined) return new Reject("INVALID_ROLE", `${where}: the role ${shown(name)} is none of ${[...ROLE_NAMES.keys()].join(", ")}.`);
  if (holds(valueOf(value, "tool_calls")) || holds(valueOf(value, "function_call"))) return new Reject("UNSUPPORTED_CONTENT", `${where}: calls of tools are not carried; write them into the content.`);
  const content = readContent(valueOf(value, "content") ?? valueOf(value, "value"), where);
  return content instanceof Reject ? content : { role, content };
}

function readContent(raw: unknown, where: string): string | Reject {
  if (typeof raw === "string") return raw;
  if (!Array.isArray(raw)) return new Reject("WRONG_TYPE", `${where}: the content is ${raw === undefined ? "missing" : shown(raw)}; text is expected.`);
  let content = "";
  for (const part of raw as unknown[]) {
    const text = typeof part === "string" ? part : partText(part);
    if (text === undefined) return new Reject("UNSUPPORTED_CONTENT", `${where}: a part of the content is not text; only text is carried.`);
    content += text;
  }
  return content;
}

function partText(part: unknown): string | undefined {
  if (part === null || typeof part !== "object" || Array.isArray(part)) return undefined;
  const text = valueOf(part as RecordValue, "text");
  return TEXT_PARTS.has(valueOf(part as RecordValue, "type")) && typeof text === "string" ? text : undefined;
}

function holds(value: unknown): boolean {
  return value != null && value !== "" && !(Array.isArray(value) && value.length === 0);
}

const HUMAN = /^\s*Human:/;
const TURN = /(?:^|\n\n)\s*(Human|Assistant):/g;

/** The messages of a transcript ("\n\nHuman: …\n\nAssistant: …"), each without the space around it; null when the text is none. An open end is no message. */
export function readTranscript(text: string): readonly Message[] | null {
  if (!HUMAN.test(text)) return null;
  const turns = [...text.matchAll(TURN)];
  if (!turns.some((turn) => turn[1] === "Assistant")) return null;
  const messages: Message[] = turns.map((turn, index) => ({
    role: turn[1] === "Human" ? "user" : "assistant",
    content: text.slice(turn.index + turn[0].length, turns[index + 1]?.index ?? text.length).trim(),
  }));
  if (messages.at(-1)!.content === "") messages.pop();
  return messages;
}

/** A column that is either text or messages: text becomes one message of `role`, unless it is a transcript. */
export function readTextOrMessages(raw: unknown, column: string, role: Role): readonly Message[] | Reject {
  const text = scalarText(raw);
  return text === undefined ? readMessages(raw, column) : readTranscript(text) ?? [{ role, content: text }];
}
