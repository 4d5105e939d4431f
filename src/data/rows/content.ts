// The dialogues of a row, for everything that measures or compares rows.

import type { Message, TrainingRow } from "./training-row.js";

/** What a model would read: sft's messages, rl's prompt, and for preference the prompt with either answer. */
export function dialoguesOf(row: TrainingRow): readonly (readonly Message[])[] {
  switch (row.task) {
    case "sft": return [row.messages];
    case "rl": return [row.prompt];
    case "preference": return [[...row.prompt, ...row.chosen], [...row.prompt, ...row.rejected]];
  }
}

/** Every message once. */
export function messagesOf(row: TrainingRow): readonly Message[] {
  switch (row.task) {
    case "sft": return row.messages;
    case "rl": return row.prompt;
    case "preference": return [...row.prompt, ...row.chosen, ...row.rejected];
  }
}

const SURROGATE = /[\ud800-\udbff]/;

/** Characters as people count them on paper: Unicode code points, so that an emoji or a rare Han character is one. */
export function charactersIn(text: string): number {
  if (!SURROGATE.test(text)) return text.length;
  let count = text.length;
  for (let index = 0; index < text.length - 1; index++) {
    if ((text.charCodeAt(index) & 0xfc00) === 0xd800 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00) {
      count--;
      index++;
    }
  }
  return count;
}

/** Adds up the characters of some messages. */
export function charactersOf(messages: readonly Message[]): number {
  let sum = 0;
  for (const { content } of messages) sum += charactersIn(content);
  return sum;
}

/** Messages of user and assistant. */
export function turnsOf(messages: readonly Message[]): number {
  let turns = 0;
  for (const { role } of messages) if (role === "user" || role === "assistant") turns++;
  return turns;
}
