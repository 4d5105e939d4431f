// Which sound rows are left out, by `filter`. Characters are Unicode code points. A preference row is measured with either answer and must pass with both.

import type { RowFilter } from "../../domain/data/preprocess-params.js";
import { charactersIn, charactersOf, dialoguesOf, turnsOf } from "./content.js";
import { isBlank } from "./dialogue.js";
import type { DropReason } from "./drop-reasons.js";
import { tokensOf, type TokenCounter } from "./tokens.js";
import { ROLES, type Message, type Role, type TrainingRow } from "./training-row.js";

type Check = (row: TrainingRow, dialogues: readonly (readonly Message[])[]) => DropReason | null;

/** Says why a row is dropped; null keeps it. Without a filter only empty answers are. The cheapest checks come first, and the first that fails is the reason.
 *  `tokens` must be given when the filter counts tokens. */
export function createFilter(filter: RowFilter | undefined, tokens: TokenCounter | null): (row: TrainingRow) => DropReason | null {
  const checks: Check[] = [];
  if (filter?.emptyAnswers !== "keep") checks.push((row) => (hasEmptyAnswer(row) ? "EMPTY_ANSWER" : null));
  if (filter !== undefined) {
    const { minTurns, maxTurns, minChars, maxChars, minTokens, maxTokens } = filter;
    addBounds(checks, turnsOf, minTurns, maxTurns, "TOO_FEW_TURNS", "TOO_MANY_TURNS");
    addBounds(checks, charactersOf, minChars, maxChars, "TOO_SHORT", "TOO_LONG");
    for (const role of ROLES) {
      const bounds = filter.roles?.[role];
      addBounds(checks, (messages) => charactersOfRole(messages, role), bounds?.minChars, bounds?.maxChars, "ROLE_TOO_SHORT", "ROLE_TOO_LONG");
    }
    if (filter.scripts !== undefined) checks.push(scriptCheck(filter.scripts, filter.minScriptShare));
    if (filter.match !== undefined) checks.push(matchCheck(filter.match));
    if (filter.noMatch !== undefined) checks.push(noMatchCheck(filter.noMatch));
    if (minTokens !== undefined || maxTokens !== undefined) {
      if (tokens === null) throw new TypeError("The filter counts tokens, so a tokenizer must be given.");
      addBounds(checks, (messages) => tokensOf(messages, tokens), minTokens, maxTokens, "TOO_FEW_TOKENS", "TOO_MANY_TOKENS");
    }
  }
  return (row) => {
    const dialogues = dialoguesOf(row);
    for (const check of checks) {
      const reason = check(row, dialogues);
      if (reason !== null) return reason;
    }
    return null;
  };
}

function addBounds(checks: Check[], measure: (messages: readonly Message[]) => number, min: number | undefined, max: number | undefined, below: DropReason, above: DropReason): void {
  if (min === undefined && max === undefined) return;
  checks.push((_row, dialogues) => {
    for (const messages of dialogues) {
      const measured = measure(messages);
      if (min !== undefined && measured < min) return below;
      if (max !== undefined && measured > max) return above;
    }
    return null;
  });
}

/** sft: the last message. rl: the answer in the file (a row that brought none was not meant to have one). preference: the last message of either answer. */
function hasEmptyAnswer(row: TrainingRow): boolean {
  switch (row.task) {
    case "sft": return isBlank(row.messages.at(-1)?.content ?? "");
    case "rl": return row.answer !== null && isBlank(row.answer);
    case "preference": return isBlank(row.chosen.at(-1)?.content ?? "") || isBlank(row.rejected.at(-1)?.content ?? "");
  }
}

function charactersOfRole(messages: readonly Message[], role: Role): number {
  let sum = 0;
  for (const message of messages) if (message.role === role) sum += charactersIn(message.content);
  return sum;
}

function matchCheck(pattern: string): Check {
  const expression = new RegExp(pattern, "u");
  return (_row, dialogues) => (dialogues.every((messages) => messages.some(({ content }) => expression.test(content))) ? null : "NO_MATCH");
}

function noMatchCheck(pattern: string): Check {
  const expression = new RegExp(pattern, "u");
  return (_row, dialogues) => (dialogues.some((messages) => messages.some(({ content }) => expression.test(content))) ? "UNWANTED_MATCH" : null);
}

const NEUTRAL = 1;
const FOREIGN = 2;
const WANTED = 3;

/** Letters (\p{L}) of user and assistant are judged by \p{Script=…}; letters that all scripts share are not counted, and a row without letters passes. What a
 *  character is gets looked up once, then read from a table. */
function scriptCheck(scripts: readonly string[], minShare: number): Check {
  const wanted = new RegExp(`^[${scripts.map((script) => `\\p{Script=${script}}`).join("")}]$`, "u");
  const table = new Uint8Array(0x10000);
  const classOf = (char: string): number => (!LETTER.test(char) || SHARED.test(char) ? NEUTRAL : wanted.test(char) ? WANTED : FOREIGN);
  const beyond = new Map<number, number>();
  return (_row, dialogues) => {
    for (const messages of dialogues) {
      const counts = [0, 0, 0, 0];
      for (const { role, content } of messages) {
        if (role === "system" || role === "tool") continue;
        for (let index = 0; index < content.length; index++) {
          const unit = content.charCodeAt(index);
          let found = table[unit]!;
          if ((unit & 0xfc00) === 0xd800) {
            const point = content.codePointAt(index)!;
            if (point > 0xffff) index++;
            found = beyond.get(point) ?? classOf(String.fromCodePoint(point));
            beyond.set(point, found);
          } else if (found === 0) {
            found = table[unit] = classOf(content[index]!);
          }
          counts[found]!++;
        }
      }
      const letters = counts[WANTED]! + counts[FOREIGN]!;
      if (letters > 0 && counts[WANTED]! < letters * minShare) return "OTHER_SCRIPT";
    }
    return null;
  };
}
const LETTER = /^\p{L}$/u;
const SHARED = /^[\p{Script=Common}\p{Script=Inherited}]$/u;
