// One question or dialogue in every shape of row that preprocess knows, for properties.

import fc from "fast-check";
import type { Message } from "../../../src/data/rows/training-row.js";
import type { Loose } from "./recipes.js";

/** Text with something visible in it, of any script; no transcript. */
export const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((one) => one.trim() !== "" && !/Human:|\0/.test(one));

export interface Asked { readonly system: string | null; readonly turns: readonly (readonly [string, string])[]; readonly question: string; readonly answer: string; readonly other: string }
export const anyExchange: fc.Arbitrary<Asked> = fc.record({ system: fc.option(text), turns: fc.array(fc.tuple(text, text), { maxLength: 2 }), question: text, answer: text, other: text }).filter(({ answer, other }) => answer !== other);

export function messagesBefore({ system, turns, question }: Asked): Message[] {
  const before = turns.flatMap(([user, assistant]): Message[] => [{ role: "user", content: user }, { role: "assistant", content: assistant }]);
  return [...(system === null ? [] : [{ role: "system" as const, content: system }]), ...before, { role: "user", content: question }];
}

export const assistant = (content: string): Message => ({ role: "assistant", content });

/** What a row of any shape must become. */
export const dialogueOf = (asked: Asked): Message[] => [...messagesBefore(asked), assistant(asked.answer)];

const sharegpt = (messages: readonly Message[]) => messages.map(({ role, content }) => ({ from: { system: "system", user: "human", assistant: "gpt", tool: "function" }[role], value: content }));

/** Shapes that hold a dialogue of any length, and shapes that hold one question; `system` beside where the shape has no place for it. */
export const LONG: Readonly<Record<string, (asked: Asked) => Loose>> = {
  messages: (asked) => ({ messages: dialogueOf(asked) }),
  parts: (asked) => ({ messages: dialogueOf(asked).map(({ role, content }) => ({ role, content: [{ type: "text", text: content }] })) }),
  json: (asked) => ({ messages: JSON.stringify(dialogueOf(asked)) }),
  sharegpt: (asked) => ({ conversations: sharegpt(dialogueOf(asked)) }),
  promptList: (asked) => ({ prompt: messagesBefore(asked), completion: [assistant(asked.answer)] }),
  preferred: (asked) => ({ chosen: dialogueOf(asked), rejected: [...messagesBefore(asked), assistant(asked.other)] }),
};
export const SHORT: Readonly<Record<string, (asked: Asked) => Loose>> = {
  promptResponse: ({ question, answer, system }) => ({ prompt: question, response: answer, system }),
  completion: ({ question, answer, system }) => ({ prompt: question, completion: answer, system_prompt: system }),
  alpaca: ({ question, answer, system }) => ({ instruction: question, input: "", output: answer, system }),
  questionAnswer: ({ question, answer, system }) => ({ question, answer, system }),
  upperCase: ({ question, answer, system }) => ({ QUESTION: question, Answer: answer, SYSTEM: system }),
  preferred: ({ question, answer, other, system }) => ({ prompt: question, chosen: answer, rejected: other, system }),
};
