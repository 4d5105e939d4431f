import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { abilityOf, hasScorer, KNOWN_DATA_SOURCES } from "../../../src/domain/data/data-sources.js";
import { columnsSchema, inputsOf, preprocessParamsSchema, preprocessProblems } from "../../../src/domain/data/preprocess-params.js";
import { parseTemplate } from "../../../src/domain/data/prompt-template.js";
import { USUAL_COLUMNS } from "../../../src/domain/data/usual-columns.js";

type Loose = Record<string, unknown>;

const parsed = (over: Loose) => preprocessParamsSchema.parse({ input: "train.jsonl", task: "sft", ...over });
/** "path CODE", and the texts when asked for. */
const problems = (over: Loose) => preprocessProblems(parsed(over), "stages[0].params");
const codes = (over: Loose) => problems(over).map(({ path, code }) => `${path.replace("stages[0].params.", "")} ${code}`);

describe("inputs", () => {
  test("take what holds for all where they say nothing themselves", () => {
    const params = parsed({ input: ["a.jsonl", { path: "b.csv", format: "tsv", columns: { prompt: "p" }, dataSource: "math", weight: 2 }], format: "csv", columns: { question: "q" }, dataSource: "openai/gsm8k" });
    expect(inputsOf(params)).toEqual([
      { path: "a.jsonl", format: "csv", columns: { question: "q" }, dataSource: "openai/gsm8k" },
      { path: "b.csv", format: "tsv", columns: { prompt: "p" }, dataSource: "math", weight: 2 },
    ]);
    expect(inputsOf(parsed({ input: { path: "a" } }))).toEqual([{ path: "a" }]);
    expect(inputsOf(parsed({}))).toEqual([{ path: "train.jsonl" }]);
  });

  test("carry weights all or none", () => {
    expect(codes({ input: [{ path: "a", weight: 1 }, { path: "b", weight: 0.5 }] })).toEqual([]);
    expect(codes({ input: [{ path: "a", weight: 1 }, "b"] })).toEqual(["input INCOMPLETE_WEIGHTS"]);
  });
});

test("the least that can be said is enough, and everything else is refused by name", () => {
  expect(parsed({})).toEqual({ input: "train.jsonl", task: "sft", customReward: false, preferenceForm: "messages", keepColumns: [], dedupe: "none", shuffle: false, seed: 0, maxRowBytes: 4_194_304, countBy: [], cache: true });
  expect(codes({})).toEqual([]);
  for (const wrong of [{ inputs: "a" }, { input: [] }, { input: "" }, { task: "dpo" }, { split: { validation: 1 } }, { split: { validation: 0 } }, { columns: { promt: "p" } }, { filter: { scripts: ["latin"] } }, { seed: -1 }, { seed: 2 ** 32 }, { nearDuplicates: { permutations: 100 } }, { dataset: "../up" }, { maxRows: 0 }]) {
    expect(preprocessParamsSchema.safeParse({ input: "a", task: "sft", ...wrong }).success, JSON.stringify(wrong)).toBe(false);
  }
});

test("patterns, scripts and templates are judged before a file is opened", () => {
  expect(codes({ task: "rl", dataSource: "math", answerPattern: "(", filter: { match: "[", noMatch: "\\p{Nope}" } })).toEqual(["answerPattern INVALID_PATTERN", "filter.match INVALID_PATTERN", "filter.noMatch INVALID_PATTERN"]);
  expect(codes({ filter: { scripts: ["Latin", "Old_Turkic", "Klingon"] } })).toEqual(["filter.scripts UNKNOWN_SCRIPT"]);
  expect(codes({ promptTemplate: "{question" })).toEqual(["promptTemplate INVALID_TEMPLATE"]);
  expect(codes({ promptTemplate: "always the same" })).toEqual(["promptTemplate INVALID_TEMPLATE"]);
  expect(problems({ promptTemplate: "a } b" })[0]!.message).toBe("promptTemplate is no template: the \"}\" at character 3 closes nothing; write }} for a brace.");
});

test("bounds that no row could meet are refused where they stand", () => {
  expect(codes({ filter: { minChars: 5, maxChars: 5, minTurns: 3, maxTurns: 2, roles: { user: { minChars: 2, maxChars: 1 }, tool: { minChars: 1 } } } })).toEqual(["filter.minTurns INVALID_RANGE", "filter.roles.user.minChars INVALID_RANGE"]);
  expect(codes({ filter: { minTokens: 1 } })).toEqual(["tokenizer MISSING_FIELD"]);
  expect(codes({ filter: { maxTokens: 1 }, tokenizer: "tokenizer.json" })).toEqual([]);
});

describe("named columns make up a whole row of the task", () => {
  const rl = { task: "rl", dataSource: "openai/gsm8k" };
  test.each<[string, Loose, string[]]>([
    ["sft from a dialogue", { columns: { messages: "m" } }, []], ["sft from prompt and answer", { columns: { prompt: "p", answer: "a" } }, []], ["sft from a template", { columns: { response: "r" }, promptTemplate: "{x}" }, []],
    ["sft from chosen", { columns: { prompt: "p", chosen: "c" } }, []], ["sft beside the usual names", { columns: { system: "s" } }, []],
    ["sft without an answer", { columns: { prompt: "p" } }, ["columns MISSING_FIELD"]], ["sft without a question", { columns: { response: "r" } }, ["columns MISSING_FIELD"]],
    ["sft with a template that no dialogue can take", { columns: { messages: "m" }, promptTemplate: "{x}" }, ["columns UNUSED_FIELD"]],
    ["rl from prompt and response", { ...rl, columns: { prompt: "p", response: "r" } }, []], ["rl from a prompt alone", { ...rl, columns: { prompt: "p" } }, []], ["rl with a ground truth alone", { ...rl, columns: { groundTruth: "g" } }, []],
    ["preference", { task: "preference", columns: { prompt: "p", chosen: "c", rejected: "r" } }, []], ["preference of dialogues", { task: "preference", columns: { chosen: "c", rejected: "r" } }, []],
    ["preference without rejected", { task: "preference", columns: { prompt: "p", chosen: "c" } }, ["columns MISSING_FIELD"]],
  ])("%s", (_name, over, expected) => {
    expect(codes(over)).toEqual(expected);
  });

  test("what is wrong with one input is told at that input, once for all that share it", () => {
    expect(codes({ input: ["a", { path: "b", columns: { prompt: "p" } }] })).toEqual(["input[1].columns MISSING_FIELD"]);
    expect(codes({ input: ["a", "b"], columns: { prompt: "p" } })).toEqual(["columns MISSING_FIELD"]);
    expect(codes({ input: { path: "a", dataSource: "x/y" }, task: "rl" })).toEqual(["input.dataSource NO_SCORER"]);
  });
});

describe("task rl needs a scorer that verl has, or one that the user brings", () => {
  test.each<[Loose, string[]]>([
    [{}, ["dataSource MISSING_FIELD"]], [{ dataSource: "openai/gsm8k" }, []], [{ dataSource: "aime2025" }, []], [{ columns: { dataSource: "source" } }, []],
    [{ dataSource: "my/own" }, ["dataSource NO_SCORER"]], [{ dataSource: "my/own", customReward: true }, []], [{ customReward: true }, []], [{ rewardStyle: "model" }, []],
    [{ input: ["a", { path: "b", dataSource: "math" }] }, ["dataSource MISSING_FIELD"]],
  ])("%j: %j", (over, expected) => {
    expect(codes({ task: "rl", ...over })).toEqual(expected);
  });

  test("a name that is nearly right is named", () => {
    expect(problems({ task: "rl", dataSource: "openai/gsm8" })[0]!.hint).toBe("Did you mean \"openai/gsm8k\"? Otherwise set customReward: true and give the training stage a reward function.");
    expect(problems({ task: "rl", dataSource: "gsm8k" })[0]!.hint).toContain("Did you mean \"openai/gsm8k\"?");
    expect(problems({ task: "rl", dataSource: "something/else entirely" })[0]!.hint).toBe("Set customReward: true and give the training stage a reward function.");
  });

  test("every known name is scored and has an ability; names of Object's are not known", () => {
    for (const name of KNOWN_DATA_SOURCES) expect([hasScorer(name), abilityOf(name)]).toEqual([true, expect.stringMatching(/^(math|code|geometry|search)$/)]);
    expect([hasScorer("constructor"), abilityOf("__proto__"), abilityOf("aime24"), abilityOf("my/own")]).toEqual([false, "general", "math", "general"]);
  });
});

test("an answerPattern must have something to do", () => {
  expect(codes({ answerPattern: "#### (.*)" })).toEqual(["answerPattern UNUSED_FIELD"]);
  expect(codes({ task: "rl", dataSource: "math", answerPattern: "x", columns: { prompt: "p", groundTruth: "g" } })).toEqual(["answerPattern UNUSED_FIELD"]);
  expect(codes({ task: "rl", dataSource: "math", answerPattern: "x", input: ["b", { path: "a", columns: { prompt: "p", groundTruth: "g" } }] })).toEqual([]);
});

test("every part that can be named has usual names, said in its description", () => {
  for (const [role, schema] of Object.entries(columnsSchema.shape)) {
    const names = USUAL_COLUMNS[role as keyof typeof USUAL_COLUMNS];
    expect(schema.description).toContain(`Usual names: ${names.join(", ")}.`);
    for (const name of names) expect(name).toBe(name.toLowerCase());
  }
  expect(Object.keys(USUAL_COLUMNS)).toEqual(Object.keys(columnsSchema.shape));
});

test("any text stands in a template when its braces are doubled", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("{", "}", "a", "😀", "\n") }), fc.constantFrom("q", "a b", "__proto__"), (text, field) => {
    const doubled = text.replaceAll("{", "{{").replaceAll("}", "}}");
    expect(parseTemplate(`${doubled}{${field}}${doubled}`)).toEqual({ parts: [...(text === "" ? [] : [{ text }]), { field }, ...(text === "" ? [] : [{ text }])], fields: [field] });
  }));
});

test("no template makes the parser throw", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("{", "}", "a") }), (text) => {
    const template = parseTemplate(text);
    expect("problem" in template ? template.problem : template.fields.join("")).toMatch(/./);
  }));
});
