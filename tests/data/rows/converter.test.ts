import { describe, expect, test } from "vitest";
import { CUSTOM_DATA_SOURCE } from "../../../src/data/rows/converter.js";
import { convertWith, dialogue, RL, rowWith, type Loose } from "./recipes.js";

const HH = "\n\nHuman: Is it late?\n\nAssistant: It is.\n\nHuman: Then good night.\n\nAssistant:";

describe("every shape becomes a dialogue for sft", () => {
  const plain = dialogue("u: 2+2?", "a: 4");
  test.each<[string, Loose, Loose, ReturnType<typeof dialogue>]>([
    ["messages", {}, { messages: plain }, plain],
    ["messages with developer, parts of text and a name", {}, { Messages: [{ role: "developer", content: "Count." }, { role: "user", name: "Bo", content: [{ type: "text", text: "2" }, { type: "text", text: "+2?" }] }, { role: "assistant", content: "4", tool_calls: null }] }, dialogue("s: Count.", ...["u: 2+2?", "a: 4"])],
    ["messages as JSON text", {}, { messages: JSON.stringify(plain) }, plain],
    ["tools' results after the assistant", {}, { messages: dialogue("u: Rain?", "a: weather()", "t: yes", "t: 12 C", "a: It rains.") }, dialogue("u: Rain?", "a: weather()", "t: yes", "t: 12 C", "a: It rains.")],
    ["ShareGPT with a system prompt beside", {}, { conversations: [{ from: "human", value: "2+2?" }, { from: "gpt", value: "4" }], system: "Count." }, dialogue("s: Count.", "u: 2+2?", "a: 4")],
    ["prompt and response", {}, { prompt: "2+2?", response: "4" }, plain],
    ["prompt and completion as messages", {}, { prompt: dialogue("s: Count.", "u: 2+2?"), completion: dialogue("a: 4") }, dialogue("s: Count.", "u: 2+2?", "a: 4")],
    ["Alpaca with input", {}, { instruction: "Add.", input: "2 and 2", output: "4" }, dialogue("u: Add.\n\n2 and 2", "a: 4")],
    ["Alpaca without", {}, { instruction: "2+2?", input: "", output: "4", prompt: "Below is an instruction …" }, plain],
    ["question and answer, a number", {}, { Question: "2+2?", ANSWER: 4 }, plain],
    ["problem and solution", {}, { problem: "2+2?", solution: "4" }, plain],
    ["input and output", {}, { input: "2+2?", output: "4" }, plain],
    ["the better of two answers", {}, { prompt: "2+2?", chosen: "4", rejected: "5" }, plain],
    ["a null column counts as absent", {}, { messages: null, prompt: "2+2?", response: "4" }, plain],
    ["named columns", { columns: { prompt: "q", answer: "a" } }, { q: "2+2?", a: "4", messages: "other" }, plain],
    ["named question and response", { columns: { question: "q", response: "r", system: "s" } }, { q: "2+2?", r: "4", s: "Count." }, dialogue("s: Count.", "u: 2+2?", "a: 4")],
  ])("%s", (_name, over, value, messages) => {
    expect(rowWith({ task: "sft", ...over }, value)).toMatchObject({ task: "sft", messages, extra: null });
  });
});

describe("pairs for preference", () => {
  const expected = { prompt: dialogue("u: 2+2?"), chosen: dialogue("a: 4"), rejected: dialogue("a: 5") };
  test.each<[string, Loose, Loose]>([
    ["strings", { prompt: "2+2?", chosen: "4", rejected: "5" }, expected],
    ["answers as messages", { prompt: dialogue("u: 2+2?"), chosen: dialogue("a: 4"), rejected: dialogue("a: 5") }, expected],
    ["whole dialogues beside a prompt", { prompt: "2+2?", chosen: dialogue("u: 2+2?", "a: 4"), rejected: dialogue("u: 2+2?", "a: 5") }, expected],
    ["whole dialogues with a system prompt", { chosen: dialogue("s: Count.", "u: 2+2?", "a: 4"), rejected: dialogue("s: Count.", "u: 2+2?", "a: 5") }, { ...expected, prompt: dialogue("s: Count.", "u: 2+2?") }],
    ["transcripts", { chosen: `${HH} Good night.`, rejected: `${HH} No.` }, { prompt: dialogue("u: Is it late?", "a: It is.", "u: Then good night."), chosen: dialogue("a: Good night."), rejected: dialogue("a: No.") }],
    ["a prompt that is a transcript", { prompt: HH, chosen: "Good night.", rejected: "No." }, { prompt: dialogue("u: Is it late?", "a: It is.", "u: Then good night."), chosen: dialogue("a: Good night."), rejected: dialogue("a: No.") }],
    ["dialogues that part early", { chosen: dialogue("u: a", "a: b", "u: c", "a: d"), rejected: dialogue("u: a", "a: e") }, { prompt: dialogue("u: a"), chosen: dialogue("a: b", "u: c", "a: d"), rejected: dialogue("a: e") }],
    ["one dialogue that goes on where the other ends", { chosen: dialogue("u: a", "a: b"), rejected: dialogue("u: a", "a: b", "u: c", "a: d") }, { prompt: dialogue("u: a"), chosen: dialogue("a: b"), rejected: dialogue("a: b", "u: c", "a: d") }],
  ])("%s", (_name, value, row) => {
    expect(rowWith({ task: "preference" }, value)).toMatchObject({ task: "preference", ...row });
  });
});

describe("rl rows", () => {
  const gsm = { question: "How many?", answer: "Many.\n#### 12\nno:\n#### 1,234" };
  test("the last match of answerPattern is the ground truth, as verl compares it", () => {
    expect(rowWith({ ...RL, answerPattern: "#### (.+)" }, gsm)).toMatchObject({
      task: "rl", prompt: dialogue("u: How many?"), dataSource: "openai/gsm8k", ability: "math", style: "rule", groundTruth: "1234", question: gsm.question, answer: gsm.answer,
    });
  });

  test("a named ground truth wins over all, one with the usual name only where no pattern is given", () => {
    const value = { prompt: "How many?", answer: "It is 5", ground_truth: "6", truth: 7 };
    expect(rowWith({ ...RL, columns: { prompt: "prompt", groundTruth: "truth" } }, value)).toMatchObject({ groundTruth: "7" });
    expect(rowWith(RL, value)).toMatchObject({ groundTruth: "6" });
    expect(rowWith({ ...RL, answerPattern: "\\d+" }, value)).toMatchObject({ groundTruth: "5" });
    expect(rowWith(RL, { question: "How many?", answer: " 5. " })).toMatchObject({ groundTruth: "5" });
    expect(rowWith({ ...RL, columns: { prompt: "prompt" } }, { prompt: "How many?", answer: "x", ground_truth: "6" })).toMatchObject({ groundTruth: "6", answer: null });
  });

  test("a dialogue's last answer is what the ground truth is looked for in", () => {
    expect(rowWith({ ...RL, answerPattern: "\\d" }, { messages: dialogue("s: Hm.", "u: a", "a: b", "u: 2+2?", "a: is 4") })).toMatchObject({ prompt: dialogue("s: Hm.", "u: a", "a: b", "u: 2+2?"), groundTruth: "4", question: "2+2?", answer: "is 4" });
    expect(rowWith(RL, { messages: dialogue("u: 2+2?"), answer: "4" })).toMatchObject({ groundTruth: "4" });
  });

  test("verl's own rows pass through, with whatever else extra_info holds", () => {
    const value = {
      data_source: "lighteval/MATH", prompt: dialogue("s: Think.", "u: 2+2? Box it."), ability: "sums", reward_model: { style: "model", ground_truth: " 4,000. " },
      extra_info: { split: "train", index: 3, question: "2+2?", answer: "it is 4", tools_kwargs: { b: 1, a: null }, need_tools_kwargs: null, extra: "{\"level\":2}" },
    };
    expect(rowWith({ task: "rl", columns: { dataSource: "data_source" } }, value)).toEqual({
      task: "rl", prompt: value.prompt, dataSource: "lighteval/MATH", ability: "sums", style: "model", groundTruth: " 4,000. ", question: "2+2?", answer: "it is 4",
      extra: "{\"level\":2,\"tools_kwargs\":{\"a\":null,\"b\":1}}", promptKey: "2+2?", categories: [],
    });
  });

  test("the scorer is the named column's, then the stage's, then the column's with the usual name", () => {
    const value = { question: "q", answer: "1", data_source: "math", kind: "lighteval/MATH" };
    expect(rowWith({ ...RL, columns: { dataSource: "kind" } }, value)).toMatchObject({ dataSource: "lighteval/MATH" });
    expect(rowWith({ ...RL, columns: { dataSource: "kind" } }, { ...value, kind: null })).toMatchObject({ dataSource: "openai/gsm8k" });
    expect(rowWith(RL, value)).toMatchObject({ dataSource: "openai/gsm8k" });
    expect(rowWith({ task: "rl" }, value)).toMatchObject({ dataSource: "math" });
    expect(rowWith({ task: "rl", customReward: true }, { question: "q" })).toMatchObject({ dataSource: CUSTOM_DATA_SOURCE, ability: "general", groundTruth: "", answer: null });
    expect(convertWith({ task: "rl" }, { ...value, data_source: "my/own" })).toMatchObject({ reason: "NO_SCORER" });
    expect(convertWith({ task: "rl" }, { question: "q", answer: "1" })).toMatchObject({ reason: "MISSING_COLUMN" });
    expect(rowWith({ task: "rl", rewardStyle: "model", dataSource: "my/own" }, { question: "q" })).toMatchObject({ dataSource: "my/own", style: "model", groundTruth: "" });
  });

  test("a blank answer is left to the filter, unless it is to be kept", () => {
    expect(rowWith({ ...RL, answerPattern: "\\d" }, { question: "q", answer: " " })).toMatchObject({ groundTruth: "", answer: " " });
    expect(convertWith({ ...RL, filter: { emptyAnswers: "keep" } }, { question: "q", answer: " " })).toMatchObject({ reason: "NO_GROUND_TRUTH" });
  });
});

describe("prompts", () => {
  test("a template is filled with columns; braces are doubled", () => {
    const row = rowWith({ task: "sft", promptTemplate: "{{{question}}} in {year}: {ok}", systemPrompt: "Count." }, { question: "2+2?", year: 1999, ok: true, answer: "4" });
    expect(row).toMatchObject({ messages: dialogue("s: Count.", "u: {2+2?} in 1999: true", "a: 4"), promptKey: "2+2?" });
  });

  test.each<[string, unknown]>([["missing", {}], ["null", { topic: null }], ["a list", { topic: [] }]])("a template's field that is %s rejects the row", (_name, value) => {
    expect(convertWith({ task: "sft", promptTemplate: "{topic}" }, { question: "q", answer: "a", ...value as Loose })).toMatchObject({ reason: "TEMPLATE_FIELD", message: expect.stringContaining("\"topic\"") });
  });

  test("a template needs no column that asks, and then its columns are the key", () => {
    const columns = { response: "reply" };
    const [one, other] = ["{b} {a}", "{a}: {b}"].map((promptTemplate) => rowWith({ task: "sft", columns, promptTemplate }, { a: "x", b: "y", reply: "z" }));
    expect(one).toMatchObject({ messages: dialogue("u: y x", "a: z") });
    expect(one!.promptKey).toBe(other!.promptKey);
  });

  test("the stage's system prompt comes first where the row has none, in every task", () => {
    const over = { systemPrompt: "Mine." };
    expect(rowWith({ task: "sft", ...over }, { messages: dialogue("s: Own.", "u: q", "a: b") })).toMatchObject({ messages: dialogue("s: Own.", "u: q", "a: b") });
    expect(rowWith({ task: "sft", ...over }, { messages: dialogue("s:  ", "u: q", "a: b"), system: "" })).toMatchObject({ messages: dialogue("s: Mine.", "u: q", "a: b") });
    expect(rowWith({ task: "sft", ...over }, { messages: dialogue("s: Own.", "u: q", "a: b"), system: "Beside." })).toMatchObject({ messages: dialogue("s: Own.", "u: q", "a: b") });
    expect(rowWith({ ...RL, ...over }, { question: "q", answer: "1" })).toMatchObject({ prompt: dialogue("s: Mine.", "u: q") });
    expect(rowWith({ task: "preference", ...over }, { prompt: "q", chosen: "a", rejected: "b" })).toMatchObject({ prompt: dialogue("s: Mine.", "u: q") });
  });
});

test("kept columns are JSON text with sorted keys, and countBy gives text", () => {
  const value = { question: "q", answer: "a", meta: JSON.parse("{\"z\":1,\"__proto__\":{\"y\":[null,2.5]}}") as unknown, level: 3, none: null };
  const row = rowWith({ task: "sft", keepColumns: ["meta", "level", "none", "absent", "constructor"], countBy: ["level", "question", "none", "meta"] }, value);
  expect(row.extra).toBe("{\"level\":3,\"meta\":{\"__proto__\":{\"y\":[null,2.5]},\"z\":1}}");
  expect(row.categories).toEqual(["3", "q", null, "{\"__proto__\":{\"y\":[null,2.5]},\"z\":1}"]);
});

describe("a broken row says what is wrong with it", () => {
  test.each<[string, Loose, unknown, string, string]>([
    ["no object", {}, [1], "NOT_AN_OBJECT", "a list"],
    ["nothing known", {}, { text: "x", n: 1 }, "UNKNOWN_SHAPE", "\"text\", \"n\""],
    ["no answer", {}, { question: "q", answer: null }, "MISSING_COLUMN", "no answer"],
    ["a named column that is missing", { columns: { prompt: "q", answer: "a" } }, { a: "x" }, "MISSING_COLUMN", "\"q\" is missing"],
    ["a named answer that is null", { columns: { prompt: "q", answer: "a" } }, { q: "x", a: null }, "MISSING_COLUMN", "\"a\""],
    ["a number for messages", {}, { messages: 3 }, "WRONG_TYPE", "column \"messages\" holds the number 3"],
    ["text for messages", {}, { messages: "hello" }, "WRONG_TYPE", "list of messages"],
    ["an object for a question", {}, { question: { a: 1 }, answer: "b" }, "WRONG_TYPE", "\"question\" holds an object"],
    ["an object for an instruction", {}, { instruction: [1], output: "b" }, "WRONG_TYPE", "\"instruction\" holds a list"],
    ["a message without content", {}, { messages: [{ role: "user" }] }, "WRONG_TYPE", "message 1: the content is missing"],
    ["an unknown role", {}, { messages: [{ role: "user", content: "q" }, { role: "robot", content: "a" }] }, "INVALID_ROLE", "message 2: the role \"robot\""],
    ["a picture among the parts", {}, { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }, "UNSUPPORTED_CONTENT", "not text"],
    ["pictures beside the dialogue", {}, { messages: dialogue("u: q", "a: b"), images: ["x.png"] }, "UNSUPPORTED_CONTENT", "images"],
    ["calls of tools", {}, { messages: [{ role: "user", content: "q" }, { role: "assistant", content: "", tool_calls: [{}] }] }, "UNSUPPORTED_CONTENT", "tools"],
    ["NUL in escaped JSON text", {}, { messages: JSON.stringify(dialogue("u: q\0", "a: b")) }, "NUL_CHARACTER", "NUL"],
    ["half a surrogate pair in escaped JSON text", {}, { messages: JSON.stringify(dialogue("u: q\ud800", "a: b")) }, "LONE_SURROGATE", "surrogate"],
    ["no messages", {}, { messages: [] }, "BAD_DIALOGUE", "no messages"],
    ["an assistant that begins", {}, { messages: dialogue("a: b", "u: q", "a: b") }, "BAD_DIALOGUE", "first message is the assistant's"],
    ["a system prompt in the middle", {}, { messages: dialogue("u: q", "s: x", "a: b") }, "BAD_DIALOGUE", "Message 2 is a system prompt"],
    ["two questions in a row", {}, { messages: dialogue("u: q", "u: q", "a: b") }, "BAD_DIALOGUE", "Message 2 is the user's and follows the user's"],
    ["a tool that nobody called", {}, { messages: dialogue("u: q", "t: q", "a: b") }, "BAD_DIALOGUE", "follows the user's"],
    ["a question at the end", {}, { messages: dialogue("u: q", "a: b", "u: q") }, "BAD_DIALOGUE", "must be the assistant's"],
    ["a blank question", {}, { question: " \n", answer: "b" }, "BAD_DIALOGUE", "blank"],
    ["no ground truth in the answer", { ...RL, answerPattern: "#### (.*)" }, { question: "q", answer: "about four" }, "NO_GROUND_TRUTH", "about four"],
    ["a ground truth that is blank", { ...RL, columns: { question: "question", groundTruth: "t" } }, { question: "q", t: " " }, "NO_GROUND_TRUTH", "\"t\""],
    ["a ground truth of another type", { ...RL }, { prompt: dialogue("u: q"), reward_model: { ground_truth: { target: [] } } }, "WRONG_TYPE", "ground_truth"],
    ["an rl prompt that ends with the assistant", RL, { prompt: dialogue("u: q", "a: b"), answer: "1" }, "BAD_DIALOGUE", "must be the user's"],
    ["one answer only", { task: "preference" }, { prompt: "q", chosen: "a" }, "UNKNOWN_SHAPE", "rejected"],
    ["equal answers", { task: "preference" }, { prompt: "q", chosen: "a", rejected: "a" }, "SAME_ANSWERS", "equal"],
    ["answers to no prompt", { task: "preference" }, { chosen: "a", rejected: "b" }, "MISSING_COLUMN", "columns.prompt"],
    ["dialogues without a common question", { task: "preference" }, { chosen: dialogue("u: a", "a: b"), rejected: dialogue("u: c", "a: b") }, "BAD_DIALOGUE", "common"],
    ["half a dialogue against a whole", { task: "preference" }, { prompt: "a", chosen: dialogue("u: a", "a: b"), rejected: "b" }, "BAD_DIALOGUE", "only an answer"],
    ["too deep to keep", { keepColumns: ["deep"] }, { question: "q", answer: "a", deep: JSON.parse(`${"[".repeat(5_000)}${"]".repeat(5_000)}`) as unknown }, "TOO_DEEP", "deep"],
  ])("%s", (_name, over, value, reason, message) => {
    const conversion = convertWith({ task: "sft", ...over }, value);
    expect(conversion).toMatchObject({ reason });
    expect((conversion as { message: string }).message.toLowerCase()).toContain(message.toLowerCase());
  });
});
