import { mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { estimateTokens, openTokenizer, tokensOf, type TokenCounter } from "../../../src/data/rows/tokens.js";
import { dialogue } from "./recipes.js";

const DEFINITION = {
  version: "1.0", truncation: null, padding: null, normalizer: { type: "Lowercase" }, pre_tokenizer: { type: "Whitespace" }, decoder: null,
  added_tokens: [{ id: 0, content: "<s>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }],
  post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } } },
  model: { type: "WordLevel", vocab: { "<s>": 0, "[UNK]": 1, hello: 2, world: 3, "!": 4 }, unk_token: "[UNK]" },
};

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(inject("runFolder"), "tokenizer-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

test("a tokenizer.json counts tokens without special ones, with or without its config beside it", async () => {
  const beside: Record<string, string>[] = [{}, { "tokenizer_config.json": JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast", bos_token: "<s>" }) }];
  for (const further of beside) {
    const folder = await folderWith({ "tokenizer.json": JSON.stringify(DEFINITION), ...further });
    const counter = await openTokenizer(join(folder, "tokenizer.json"));
    expect([counter.count("Hello world!"), counter.count(""), counter.count("hello 你 hello")]).toEqual([3, 0, 3]);
    expect(tokensOf(dialogue("u: hello", "a: hello world"), counter)).toBe(3);
  }
});

test.each<[string, Record<string, string>, string]>([
  ["is missing", {}, "ENOENT"], ["is no JSON", { "tokenizer.json": "{" }, "no JSON object"], ["has no model", { "tokenizer.json": "{}" }, "\"model\""],
  ["has a model of an unknown type", { "tokenizer.json": JSON.stringify({ ...DEFINITION, model: { type: "Oracle" } }) }, "cannot be used"],
  ["has a broken config beside it", { "tokenizer.json": JSON.stringify(DEFINITION), "tokenizer_config.json": "[]" }, "tokenizer_config.json holds no JSON object"],
])("a tokenizer that %s is refused with the way out", async (_name, files, why) => {
  const path = join(await folderWith(files), "tokenizer.json");
  const refusal = openTokenizer(path);
  await expect(refusal).rejects.toMatchObject({ code: "INVALID_TOKENIZER" });
  await expect(refusal).rejects.toThrow(why);
  await expect(refusal).rejects.toThrow("Give the tokenizer.json");
});

test("a message is tokenised once", () => {
  let calls = 0;
  const counter: TokenCounter = { count: () => ++calls, known: new WeakMap() };
  const messages = dialogue("u: a", "a: b");
  expect([tokensOf(messages, counter), tokensOf(messages, counter)]).toEqual([3, 3]);
});

test("estimates follow the script", () => {
  expect([estimateTokens(""), estimateTokens("a".repeat(400)), estimateTokens("你".repeat(100)), estimateTokens("Привет мир")]).toEqual([0, 100, 70, 5]);
});
