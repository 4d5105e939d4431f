import fc from "fast-check";
import { expect, test } from "vitest";
import { createConverter } from "../../../src/data/rows/converter.js";
import { REJECT_REASONS } from "../../../src/data/read/records.js";
import { sideOf } from "../../../src/data/rows/split.js";
import { inputsOf } from "../../../src/domain/data/preprocess-params.js";
import { CONTENT_ROLES, USUAL_COLUMNS, type ColumnRole } from "../../../src/domain/data/usual-columns.js";
import { convertWith, paramsOf, rowWith, type Loose } from "./recipes.js";
import { anyExchange, assistant, dialogueOf, LONG, messagesBefore, SHORT, text } from "./shapes.js";

const anyRecord = fc.tuple(anyExchange, fc.boolean(), fc.nat(5)).map(([exchange, long, nth]) => {
  const asked = long ? exchange : { ...exchange, turns: [] };
  return { asked, value: Object.values(long ? LONG : SHORT)[nth]!(asked) };
});

test("a row of any shape becomes the dialogue it holds", () => {
  fc.assert(fc.property(anyRecord, ({ asked, value }) => {
    expect(rowWith({ task: "sft" }, value)).toMatchObject({ messages: dialogueOf(asked) });
  }), { numRuns: 500 });
});

test("a pair of any shape becomes the prompt and the two answers", () => {
  fc.assert(fc.property(anyExchange, fc.boolean(), (exchange, long) => {
    const asked = long ? exchange : { ...exchange, turns: [] };
    expect(rowWith({ task: "preference" }, (long ? LONG : SHORT).preferred!(asked))).toMatchObject({ prompt: messagesBefore(asked), chosen: [assistant(asked.answer)], rejected: [assistant(asked.other)] });
  }));
});

test("the promptKey, and so the side of the split, depends on neither task, template, system prompt nor shape", () => {
  fc.assert(fc.property(anyExchange, text, (exchange, system) => {
    const keys = new Set<string>();
    const asked = { ...exchange, turns: [] };
    for (const shape of [LONG.messages!, LONG.sharegpt!, LONG.preferred!, SHORT.promptResponse!, SHORT.alpaca!, SHORT.questionAnswer!, SHORT.preferred!]) {
      const value = shape(asked);
      for (const over of [{ task: "sft" }, { task: "rl", customReward: true }, { task: "sft", systemPrompt: system }, { task: "rl", customReward: true, systemPrompt: system }, ...("chosen" in value ? [{ task: "preference" }] : [])]) keys.add(rowWith(over, value).promptKey);
    }
    for (const task of ["sft", "rl"]) keys.add(rowWith({ task, customReward: true, promptTemplate: "Think. {question}" }, SHORT.questionAnswer!(asked)).promptKey);
    expect([...keys]).toEqual([asked.question.trim()]);
    const multi = [{ task: "sft" }, { task: "rl", customReward: true }].map((over) => rowWith(over, LONG.messages!(exchange)));
    expect(sideOf(multi[0]!, { validation: 0.5 }, 7)).toBe(sideOf(multi[1]!, { validation: 0.5 }, 7));
    expect(multi[0]!.promptKey).toBe(rowWith({ task: "preference" }, LONG.preferred!(exchange)).promptKey);
  }));
});

const usualName = fc.constantFrom(...Object.values(USUAL_COLUMNS).flat(), "reward_model", "extra_info", "images", "__proto__", "constructor", "toString");
/** Objects as JSON.parse makes them: __proto__ is a key like any other. */
const hostileObject = fc.array(fc.tuple(usualName, fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.constant([{ role: "user", content: "q" }]), fc.constant([{ role: "user", content: "q" }, { from: "gpt", value: "" }]), fc.record({ ground_truth: fc.jsonValue(), extra: fc.jsonValue() }))), { maxLength: 6 })
  .map((entries) => JSON.parse(`{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`) as Loose);
const anyOver = fc.record({
  task: fc.constantFrom("sft", "rl", "preference"), customReward: fc.boolean(), keepColumns: fc.subarray(["answer", "__proto__", "constructor"]), countBy: fc.subarray(["prompt", "messages"]),
  columns: fc.option(fc.dictionary(fc.constantFrom<ColumnRole>(...CONTENT_ROLES, "system", "groundTruth"), usualName, { maxKeys: 3, noNullPrototype: true }), { nil: undefined }),
  promptTemplate: fc.constantFrom(undefined, "{prompt}", "{constructor}{question}"), answerPattern: fc.constantFrom(undefined, "(a)|b", "$"),
});

test("no JSON value makes the conversion throw: it is a row, or rejected with a known reason and a message", () => {
  fc.assert(fc.property(anyOver, fc.oneof({ weight: 4, arbitrary: hostileObject }, { weight: 1, arbitrary: fc.jsonValue() }), (over, value) => {
    const conversion = convertWith(over, value);
    if (conversion.row !== undefined) expect(conversion.row.task).toBe(over.task);
    else {
      expect(Object.keys(REJECT_REASONS)).toContain(conversion.reason);
      expect(conversion.message.length).toBeLessThan(2_000);
      expect(conversion.message.isWellFormed()).toBe(true);
    }
  }), { numRuns: 3_000 });
});

test("rows of many key sets are each read by their own columns", () => {
  const params = paramsOf({ task: "sft" });
  const convert = createConverter(params, inputsOf(params)[0]!);
  for (let n = 0; n < 300; n++) {
    const value = n % 2 === 0 ? { [`x${n % 150}`]: 1, question: `q${n}`, answer: "a" } : { [`x${n % 150}`]: 1, prompt: `p${n}`, response: "r" };
    expect(convert({ value }).row?.promptKey).toBe(n % 2 === 0 ? `q${n}` : `p${n}`);
  }
});
