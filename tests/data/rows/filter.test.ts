import { describe, expect, test } from "vitest";
import { createFilter } from "../../../src/data/rows/filter.js";
import type { TrainingRow } from "../../../src/data/rows/training-row.js";
import { filterSchema } from "../../../src/domain/data/preprocess-params.js";
import { RL, rowWith, sftRow, type Loose } from "./recipes.js";

const judge = (filter: Loose | undefined, row: TrainingRow, count?: (text: string) => number) => createFilter(filter && filterSchema.parse(filter), count ? { count } : null)(row);
const row = sftRow("s: Be.", "u: Hi 😀", "a: Yes.", "u: 你好", "a: 再见吧");
const pair = rowWith({ task: "preference" }, { prompt: "ask", chosen: "long answer", rejected: "no" });

describe("bounds", () => {
  test.each<[Loose, string | null]>([
    [{ minChars: 16 }, null], [{ minChars: 17 }, "TOO_SHORT"], [{ maxChars: 16 }, null], [{ maxChars: 15 }, "TOO_LONG"],
    [{ minTurns: 4, maxTurns: 4 }, null], [{ minTurns: 5 }, "TOO_FEW_TURNS"], [{ maxTurns: 3 }, "TOO_MANY_TURNS"],
    [{ roles: { user: { minChars: 6, maxChars: 6 } } }, null], [{ roles: { user: { minChars: 7 } } }, "ROLE_TOO_SHORT"], [{ roles: { assistant: { maxChars: 6 } } }, "ROLE_TOO_LONG"], [{ roles: { tool: { minChars: 1 } } }, "ROLE_TOO_SHORT"],
  ])("%j: %s, with an emoji as one character", (filter, reason) => {
    expect(judge(filter, row)).toBe(reason);
  });

  test("a preference row must pass with either answer", () => {
    expect(judge({ minChars: 5, maxChars: 14 }, pair)).toBeNull();
    expect(judge({ minChars: 6 }, pair)).toBe("TOO_SHORT");
    expect(judge({ maxChars: 13 }, pair)).toBe("TOO_LONG");
    expect(judge({ match: "answer" }, pair)).toBe("NO_MATCH");
    expect(judge({ noMatch: "^no$" }, pair)).toBe("UNWANTED_MATCH");
  });

  test("tokens are the tokenizer's, of each message alone", () => {
    const words = (text: string) => text.split(" ").length;
    expect(judge({ minTokens: 6, maxTokens: 6 }, row, words)).toBeNull();
    expect(judge({ minTokens: 7 }, row, words)).toBe("TOO_FEW_TOKENS");
    expect(judge({ maxTokens: 5 }, row, words)).toBe("TOO_MANY_TOKENS");
    expect(() => judge({ maxTokens: 5 }, row)).toThrow("tokenizer");
  });
});

describe("scripts", () => {
  test.each<[string[], number, string[], string | null]>([
    [["Latin"], 1, ["u: naïve ½ + 3 = ?", "a: Straße 😀 ー"], null], [["Latin"], 1, ["u: 1 + 1", "a: 2"], null], [["Latin"], 0.5, ["u: ab", "a: 你好"], null], [["Latin"], 0.51, ["u: ab", "a: 你好"], "OTHER_SCRIPT"],
    [["Han", "Hiragana", "Katakana"], 1, ["u: 東京タワーはどこ", "a: 𠮷野"], null], [["Han"], 1, ["u: 東京", "a: タワー"], "OTHER_SCRIPT"], [["Cyrillic"], 0.8, ["u: Привет", "a: Hello"], "OTHER_SCRIPT"],
    [["Latin"], 1, ["s: 请用英文回答。", "u: Hi", "a: Hi"], null], [["Latin"], 1, ["u: Hi", "a: 𠮷"], "OTHER_SCRIPT"],
  ])("%j at least %d of %j: %s", (scripts, minScriptShare, lines, reason) => {
    expect(judge({ scripts, minScriptShare }, sftRow(...lines))).toBe(reason);
  });
});

test("regular expressions look at each message", () => {
  expect(judge({ match: "^Yes\\.$" }, row)).toBeNull();
  expect(judge({ match: "Hi.*Yes" }, row)).toBe("NO_MATCH");
  expect(judge({ noMatch: "\\p{Emoji_Presentation}" }, row)).toBe("UNWANTED_MATCH");
  expect(judge({ noMatch: "as an AI" }, row)).toBeNull();
});

test("empty answers are dropped unless they are to be kept, without any filter too", () => {
  const blank = [sftRow("u: q", "a:  \n"), rowWith(RL, { question: "q", answer: "" }), rowWith({ task: "preference" }, { prompt: "q", chosen: "a", rejected: " " })];
  for (const one of blank) {
    expect(judge(undefined, one)).toBe("EMPTY_ANSWER");
    expect(judge({ emptyAnswers: "keep" }, one)).toBeNull();
  }
  expect(judge(undefined, rowWith({ task: "rl", customReward: true }, { prompt: "q" }))).toBeNull();
  expect(judge(undefined, row)).toBeNull();
});
