// What a record says, whatever its shape: who asked what, and what may follow. Knows nothing of tasks but which answer each wants.
//   Order in which shapes are looked for: messages, conversations, instruction (+ input), prompt, question, input alone; chosen and rejected where nothing else
//   asks (and first of all for task preference). The question is chosen before the answer, so that every task asks the same of the same record.

import type { DataTask } from "../../domain/data/preprocess-params.js";
import { QUESTION_ROLES } from "../../domain/data/usual-columns.js";
import { filled, scalarText, valueOf, type ColumnMap, type RecordValue } from "./columns.js";
import { isBlank } from "./dialogue.js";
import { readMessages, readTextOrMessages } from "./messages.js";
import { Reject, shown } from "./reject.js";
import type { Message } from "./training-row.js";

export interface Exchange {
  /** The row's own system prompt. */
  readonly system: string | null;
  /** Without system prompts; empty when no column asks. */
  readonly prompt: readonly Message[];
  /** What was asked, as it stood in the file: the text, or the last user message's. */
  readonly question: string | null;
  /** What follows the prompt; null when the record does not say. */
  readonly answer: readonly Message[] | null;
  /** The other answer, for preference. */
  readonly rejected: readonly Message[] | null;
  /** The answer belongs to the dialogue the prompt stands in, so that a missing one is the dialogue's fault. */
  readonly whole: boolean;
}

export interface Reading {
  readonly task: DataTask;
  /** `columns` names the content: a column that is missing then has a name to be told by. */
  readonly explicit: boolean;
  /** promptTemplate makes the prompt: dialogues are not looked at, and no column need ask. */
  readonly templated: boolean;
}

/** Reads a record as an exchange. */
export function readExchange(value: RecordValue, columns: ColumnMap, reading: Reading): Exchange | Reject {
  if (holdsMedia(value)) return new Reject("UNSUPPORTED_CONTENT", "The row has images or videos; only text is carried.");
  const system = readSystem(value, columns);
  if (system instanceof Reject) return system;
  const exchange = reading.task === "preference" ? readPair(value, columns, reading) : readDialogue(value, columns, reading);
  return exchange instanceof Reject || exchange.system !== null ? exchange : { ...exchange, system };
}

function readDialogue(value: RecordValue, columns: ColumnMap, reading: Reading): Exchange | Reject {
  const dialogue = reading.templated ? null : filled(value, columns.messages) ?? filled(value, columns.conversations);
  if (dialogue !== null) return withAnswer(readWhole(value, dialogue), value, columns, reading);
  const asked = readQuestion(value, columns);
  if (asked instanceof Reject) return asked;
  if (asked !== null) return withAnswer(asked, value, columns, reading);
  if (filled(value, columns.chosen) !== null) return readPair(value, columns, reading);
  return reading.templated ? withAnswer(NOTHING_ASKED, value, columns, reading) : unknownShape(value, columns, reading, [...QUESTION_ROLES, "chosen"]);
}
const NOTHING_ASKED: Exchange = { system: null, prompt: [], question: null, answer: null, rejected: null, whole: false };

function readWhole(value: RecordValue, column: string): Exchange | Reject {
  const messages = readMessages(value[column], column);
  if (messages instanceof Reject) return messages;
  const { system, rest } = splitSystem(messages);
  const answered = rest.at(-1)?.role === "assistant";
  const prompt = answered ? rest.slice(0, -1) : rest;
  return { system, prompt, question: lastQuestion(prompt), answer: answered ? rest.slice(-1) : null, rejected: null, whole: true };
}

/** What a column asks; null when none does. */
function readQuestion(value: RecordValue, columns: ColumnMap): Exchange | null | Reject {
  const instruction = filled(value, columns.instruction);
  if (instruction !== null) return readInstruction(value, instruction, filled(value, columns.input));
  const column = filled(value, columns.prompt) ?? filled(value, columns.question) ?? filled(value, columns.input);
  if (column === null) return null;
  const messages = readTextOrMessages(value[column], column, "user");
  if (messages instanceof Reject) return messages;
  const { system, rest } = splitSystem(messages);
  return { system, prompt: rest, question: scalarText(value[column]) ?? lastQuestion(rest), answer: null, rejected: null, whole: false };
}

function readInstruction(value: RecordValue, instruction: string, input: string | null): Exchange | Reject {
  const task = scalarText(value[instruction]);
  const material = input === null ? "" : scalarText(value[input]);
  if (task === undefined || material === undefined) return notText(value, task === undefined ? instruction : input!);
  const question = isBlank(material) ? task : isBlank(task) ? material : `${task}\n\n${material}`;
  return { system: null, prompt: [{ role: "user", content: question }], question, answer: null, rejected: null, whole: false };
}

/** For sft the answer is what is said, for rl what the ground truth stands in; a question's own kind of answer comes first where nobody chose. */
function withAnswer(exchange: Exchange | Reject, value: RecordValue, columns: ColumnMap, reading: Reading): Exchange | Reject {
  if (exchange instanceof Reject || (exchange.answer !== null && !(reading.explicit && reading.task === "rl"))) return exchange;
  const column = filled(value, answersInOrder(value, columns, reading));
  if (column !== null) {
    const messages = readAnswer(value, column);
    return messages instanceof Reject ? messages : { ...exchange, answer: messages };
  }
  if (exchange.answer !== null || reading.task === "rl") return exchange;
  const chosen = filled(value, columns.chosen);
  if (chosen === null) return exchange;
  return readPair(value, columns, reading);
}

function answersInOrder(value: RecordValue, { response, output, answer, instruction, prompt, question }: ColumnMap, reading: Reading): readonly string[] {
  if (reading.task === "rl") return [...answer, ...response, ...output];
  if (reading.explicit) return [...response, ...output, ...answer];
  if (filled(value, instruction) !== null) return [...output, ...response, ...answer];
  return filled(value, prompt) === null && filled(value, question) !== null ? [...answer, ...response, ...output] : [...response, ...output, ...answer];
}

function readAnswer(value: RecordValue, column: string): readonly Message[] | Reject {
  const text = scalarText(value[column]);
  return text === undefined ? readMessages(value[column], column) : [{ role: "assistant", content: text }];
}

/** chosen and rejected, with the prompt beside them or, in full dialogues, as what both begin with. Tasks other than preference take chosen alone. */
function readPair(value: RecordValue, columns: ColumnMap, reading: Reading): Exchange | Reject {
  const chosenColumn = filled(value, columns.chosen);
  const rejectedColumn = filled(value, columns.rejected);
  if (chosenColumn === null || (rejectedColumn === null && reading.task === "preference")) return unknownShape(value, columns, reading, [chosenColumn === null ? "chosen" : "rejected"]);
  const chosen = readTextOrMessages(value[chosenColumn], chosenColumn, "assistant");
  const rejected = rejectedColumn === null ? chosen : readTextOrMessages(value[rejectedColumn], rejectedColumn, "assistant");
  if (chosen instanceof Reject) return chosen;
  if (rejected instanceof Reject) return rejected;
  if (chosen.length === 0 || rejected.length === 0) return new Reject("BAD_DIALOGUE", `Column "${chosen.length === 0 ? chosenColumn : rejectedColumn!}" holds no message.`);
  const full = isFull(chosen);
  if (full !== isFull(rejected)) return new Reject("BAD_DIALOGUE", `Column "${full ? chosenColumn : rejectedColumn!}" holds a dialogue from its beginning, and column "${full ? rejectedColumn! : chosenColumn}" only an answer.`);
  if (full) return splitPair(chosen, rejectedColumn === null ? null : rejected);
  const asked = readAsking(value, columns, reading) ?? readQuestion(value, columns);
  if (asked instanceof Reject) return asked;
  if (asked === null && !reading.templated) {
    return new Reject("MISSING_COLUMN", `Column "${chosenColumn}" holds only an answer, and no column holds the prompt. Name it in columns.prompt, or give chosen and rejected as whole dialogues.`);
  }
  return { ...(asked ?? NOTHING_ASKED), answer: chosen, rejected: rejectedColumn === null ? null : rejected };
}

/** The prompt of a dialogue that stands beside chosen and rejected. */
function readAsking(value: RecordValue, columns: ColumnMap, reading: Reading): Exchange | null | Reject {
  const dialogue = reading.templated ? null : filled(value, columns.messages) ?? filled(value, columns.conversations);
  return dialogue === null ? null : readWhole(value, dialogue);
}

function isFull(messages: readonly Message[]): boolean {
  return messages[0]!.role === "user" || messages[0]!.role === "system";
}

function splitPair(chosen: readonly Message[], rejected: readonly Message[] | null): Exchange | Reject {
  const other = rejected ?? chosen;
  let common = 0;
  while (common < chosen.length && common < other.length && sameMessage(chosen[common]!, other[common]!)) common++;
  // The answers begin after the last user message that both have.
  while (common > 0 && chosen[common - 1]!.role !== "user") common--;
  if (common === 0) return new Reject("BAD_DIALOGUE", "chosen and rejected have no common beginning that ends with a user's message.");
  const { system, rest } = splitSystem(chosen.slice(0, common));
  return { system, prompt: rest, question: lastQuestion(rest), answer: chosen.slice(common), rejected: rejected === null ? null : rejected.slice(common), whole: true };
}

/** Whether two messages are equal. */
export function sameMessage(left: Message, right: Message): boolean {
  return left.role === right.role && left.content === right.content;
}

/** A leading system prompt apart; a blank one is none. */
function splitSystem(messages: readonly Message[]): { system: string | null; rest: readonly Message[] } {
  const first = messages[0];
  return first?.role === "system" ? { system: isBlank(first.content) ? null : first.content, rest: messages.slice(1) } : { system: null, rest: messages };
}

function readSystem(value: RecordValue, columns: ColumnMap): string | null | Reject {
  const column = filled(value, columns.system);
  if (column === null) return null;
  const text = scalarText(value[column]);
  return text === undefined ? notText(value, column) : isBlank(text) ? null : text;
}

function lastQuestion(messages: readonly Message[]): string | null {
  return messages.findLast((message) => message.role === "user")?.content ?? null;
}

function holdsMedia(value: RecordValue): boolean {
  return [value.images, value.videos].some((media) => Array.isArray(media) && media.length > 0);
}

/** The reject of a column that should hold text. */
export function notText(value: RecordValue, column: string): Reject {
  return new Reject("WRONG_TYPE", `Column "${column}" holds ${shown(value[column])} where text is expected.`);
}

function unknownShape(value: RecordValue, columns: ColumnMap, reading: Reading, needed: readonly (keyof ColumnMap)[]): Reject {
  const named = reading.explicit ? needed.flatMap((role) => columns[role]) : [];
  for (const column of named) return new Reject("MISSING_COLUMN", `Column "${column}" is ${valueOf(value, column) === null ? "null" : "missing"}.`);
  const keys = Object.keys(value);
  const has = keys.length === 0 ? "The row has no columns" : `The row has ${keys.slice(0, 12).map((key) => shown(key)).join(", ")}${keys.length > 12 ? ` and ${keys.length - 12} more` : ""}`;
  return new Reject("UNKNOWN_SHAPE", `${has}; none of them is known as ${needed.join(", ")}, or it is null. Say in \`columns\` which column plays which part.`);
}

