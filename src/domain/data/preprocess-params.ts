// What a preprocess stage may be told (`params` of kind preprocess), as one zod schema, and the rules between its fields. docs/pipeline.md and the JSON Schema
// for editors are generated from here. What the rows of a file turn out to be is judged where the file is: src/data.

import { z } from "zod";
import { nearestName } from "../pipeline/dag.js";
import type { Problem } from "../errors.js";
import { hasScorer, KNOWN_DATA_SOURCES } from "./data-sources.js";
import { parseTemplate } from "./prompt-template.js";
import { ANSWER_ROLES, CONTENT_ROLES, QUESTION_ROLES, USUAL_COLUMNS, type ColumnRole } from "./usual-columns.js";

export const DATA_TASKS = ["sft", "rl", "preference"] as const;
/** sft: `messages`. rl: verl's prompt, data_source, ability, reward_model, extra_info. preference: TRL's prompt, chosen, rejected. */
export type DataTask = (typeof DATA_TASKS)[number];

export const DATA_FORMATS = ["jsonl", "json", "csv", "tsv", "parquet"] as const;
/** How a file is written; each text form may also be gzipped. */
export type DataFormat = (typeof DATA_FORMATS)[number];

const columnName = z.string().min(1).max(200);
/** A path inside the data directories (a glob may name several files), or `dataset:<name>` with an optional `@<version>`. */
const inputPath = z.string().min(1).max(4_096);
/** Its description ends with the names by which the column is recognised. */
const columnNamed = (role: ColumnRole, description: string) => columnName.optional().describe(`${description} Usual names: ${USUAL_COLUMNS[role].join(", ")}.`);
const seed = z.number().int().min(0).max(4_294_967_295);

export const columnsSchema = z.strictObject({
  messages: columnNamed("messages", "List of {role, content} (OpenAI's chat form)."),
  conversations: columnNamed("conversations", "List of {from, value} (ShareGPT)."),
  prompt: columnNamed("prompt", "Text, or list of messages."),
  response: columnNamed("response", "What the assistant answers: text, or list of messages."),
  instruction: columnNamed("instruction", "Alpaca's task; joined with `input`, after an empty line, when there is one."),
  input: columnNamed("input", "Alpaca's material for the task; may be empty. Asks by itself where nothing else does."),
  output: columnNamed("output", "Alpaca's answer."),
  question: columnNamed("question", "Same as prompt."),
  answer: columnNamed("answer", "The response for sft; what the ground truth is extracted from for rl."),
  groundTruth: columnNamed("groundTruth", "What a right answer is judged against."),
  chosen: columnNamed("chosen", "The better answer: text, or messages. Whole dialogues (HH-RLHF, UltraFeedback) bring the prompt with them: what chosen and rejected begin with."),
  rejected: columnNamed("rejected", "The worse answer, in the same form."),
  system: columnNamed("system", "System prompt of the row; may be empty."),
  dataSource: columnNamed("dataSource", "Selects verl's scorer, row by row."),
  ability: columnNamed("ability", "Free word for the skill, row by row."),
}).describe("Which column plays which part. Parts are recognised by the usual names; once a part of the dialogue is named here, only data source and ability still are, and the ground truth where no answer is named.");
export type ColumnRoles = z.infer<typeof columnsSchema>;

const inputSchema = z.strictObject({
  path: inputPath.describe("File, glob or dataset:<name>[@<version>]."),
  format: z.enum(DATA_FORMATS).optional().describe("Default: by the file's ending."),
  columns: columnsSchema.optional(),
  weight: z.number().positive().max(1_000_000).optional().describe("Share of this input in the mixture, relative to the others; all inputs or none carry one. Nothing is repeated: the scarcest input bounds the whole."),
  maxRows: z.number().int().positive().optional().describe("At most so many rows of this input are used, chosen by content hash and seed."),
  dataSource: z.string().min(1).max(200).optional(),
});
export type PreprocessInput = z.infer<typeof inputSchema>;

const length = z.number().int().nonnegative();
const bounds = z.strictObject({ minChars: length.optional(), maxChars: length.optional() });

export const filterSchema = z.strictObject({
  minChars: length.optional().describe("Characters (Unicode code points) of all messages together. Preference rows are measured with either answer and must pass with both."),
  maxChars: length.optional().describe("Characters (Unicode code points) of all messages together."),
  roles: z.partialRecord(z.enum(["system", "user", "assistant", "tool"]), bounds).optional().describe("Characters (Unicode code points) of the messages of one role together; none count as 0."),
  minTurns: length.optional().describe("Messages of user and assistant."),
  maxTurns: length.optional().describe("Messages of user and assistant."),
  minTokens: length.optional().describe("Tokens of all messages' text, by `tokenizer`; without the chat template's own."),
  maxTokens: length.optional().describe("Tokens of all messages' text, by `tokenizer`; without the chat template's own."),
  scripts: z.array(z.string().regex(/^[A-Z][a-z]+(?:_[A-Z][a-z]+)*$/)).min(1).max(20).optional().describe("Unicode scripts, e.g. Latin, Han, Cyrillic, that the letters of user and assistant must be of."),
  minScriptShare: z.number().min(0).max(1).default(0.8).describe("Share of the letters that must be of `scripts`. Letters that all scripts share do not count."),
  emptyAnswers: z.enum(["drop", "keep"]).default("drop").describe("Rows whose answer is empty or blank. Dropped even when no filter is given."),
  match: z.string().max(2_000).optional().describe("Regular expression (flag u) that some message must match."),
  noMatch: z.string().max(2_000).optional().describe("Regular expression (flag u) that no message may match."),
}).describe("Rows that fail are dropped and counted by reason.");
export type RowFilter = z.infer<typeof filterSchema>;

export const preprocessParamsSchema = z.strictObject({
  input: z.union([inputPath, z.array(z.union([inputPath, inputSchema])).min(1).max(1_000), inputSchema]).describe("One file, several, globs, or data sets of the registry."),
  task: z.enum(DATA_TASKS).describe("sft: messages. rl: verl's prompt, data_source, ability, reward_model, extra_info. preference: TRL's prompt, chosen, rejected."),
  format: z.enum(DATA_FORMATS).optional().describe("Of all inputs. Default: by each file's ending (.gz aside)."),
  columns: columnsSchema.optional(),
  systemPrompt: z.string().max(100_000).optional().describe("Put first where a row brings no system prompt of its own."),
  promptTemplate: z.string().min(1).max(100_000).optional().describe("Makes the prompt from columns, e.g. \"{question}\\nAnswer in one line.\"; {{ and }} are braces. It takes the place of what the row asks; the answer comes from columns other than messages and conversations."),
  answerPattern: z.string().min(1).max(2_000).optional().describe("Regular expression (flag u) that finds the ground truth in the answer; its first group, or the whole match. The last match counts. Ground truths lose the space around them; numbers also separators of thousands, a leading + and a full stop at the end."),
  dataSource: z.string().min(1).max(200).optional().describe("Selects verl's scorer, e.g. openai/gsm8k."),
  customReward: z.boolean().default(false).describe("The training stages bring a reward function of their own, so data_source need not be one that verl scores."),
  ability: z.string().min(1).max(200).optional().describe("Free word for the skill, e.g. math. Default: by data_source, otherwise general."),
  rewardStyle: z.enum(["rule", "model"]).optional().describe("reward_model.style: judged by a rule against the ground truth, or by a model. Default: the row's own when it is verl's already, otherwise rule."),
  preferenceForm: z.enum(["messages", "text"]).default("messages").describe("How prompt, chosen and rejected are written: as messages, or as plain text."),
  keepColumns: z.array(columnName).max(100).default([]).describe("Further columns to carry along, as JSON text in the column `extra` (sft, preference) or in extra_info.extra (rl)."),
  filter: filterSchema.optional(),
  tokenizer: inputPath.optional().describe("tokenizer.json inside the data directories, for exact token lengths."),
  dedupe: z.enum(["none", "exact", "normalized"]).default("none").describe("exact: equal content. normalized: equal after Unicode NFKC, lower case, and without surplus space and punctuation, but for signs before a digit. The first stays."),
  nearDuplicates: z.strictObject({
    threshold: z.number().min(0.3).max(1).default(0.8).describe("Estimated Jaccard similarity from which two rows count as the same."),
    shingleChars: z.number().int().min(2).max(50).default(8).describe("Length of the overlapping pieces that are compared, in UTF-16 units of the normalised text: question and answer, without system prompt and template."),
    permutations: z.union([z.literal(32), z.literal(64), z.literal(128), z.literal(256)]).default(128).describe("Hash values per row: more are more exact and take 2 bytes each (with LSH, a row takes about 450 bytes by default)."),
  }).optional().describe("Drops near duplicates by MinHash and LSH. The first stays."),
  split: z.strictObject({
    validation: z.number().gt(0).lt(1).describe("Share of the rows, chosen by the hash of the prompt: more data moves no old row, and equal prompts stay together."),
    seed: seed.optional().describe("Default: `seed`."),
  }).optional().describe("Without it there is a train file only."),
  shuffle: z.boolean().default(false).describe("Orders rows by hash and seed; otherwise they stay in the order of the input."),
  seed: seed.default(0).describe("For split, shuffling and sampling."),
  maxRows: z.number().int().positive().optional().describe("At most so many rows are kept in all, chosen by content hash and seed."),
  maxRejectedFraction: z.number().min(0).max(1).optional().describe("Fails the stage when more than this share of the rows is broken (filters and duplicates do not count). Without it broken rows are only counted."),
  maxRowBytes: z.number().int().min(1_024).max(64 * 1_048_576).default(4 * 1_048_576).describe("A longer row is broken."),
  countBy: z.array(columnName).max(20).default([]).describe("Columns whose values are counted in the statistics."),
  dataset: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/, "must be letters, digits, '.', '_', '-' or '/', up to 200").optional().describe("Name under which the files are registered; -train and -validation are appended. Default: <pipeline>/<stage>."),
  cache: z.boolean().default(true).describe("Reuse the files of an earlier successful stage with equal input hashes and params."),
});
export type PreprocessParams = z.infer<typeof preprocessParamsSchema>;

/** Every input as a record of its own, with what holds for all filled in. */
export function inputsOf(params: PreprocessParams): readonly PreprocessInput[] {
  const list = Array.isArray(params.input) ? params.input : [params.input];
  return list.map((one) => {
    const input = typeof one === "string" ? { path: one } : one;
    const { format = params.format, columns = params.columns, dataSource = params.dataSource } = input;
    return { ...input, ...(format === undefined ? {} : { format }), ...(columns === undefined ? {} : { columns }), ...(dataSource === undefined ? {} : { dataSource }) };
  });
}

/** What is wrong between the fields of well-formed params. `path` is where they stand, e.g. stages[0].params. */
export function preprocessProblems(params: PreprocessParams, path: string): Problem[] {
  const problems: Problem[] = [];
  const refuse: Refuse = (field, code, message, hint) => void problems.push({ path: `${path}.${field}`, severity: "ERROR", code, message, hint });
  refusePatterns(params, refuse);
  refuseBounds(params.filter, refuse);
  if ((params.filter?.minTokens ?? params.filter?.maxTokens) !== undefined && params.tokenizer === undefined) refuse("tokenizer", "MISSING_FIELD", "minTokens and maxTokens need a tokenizer.", "Give tokenizer: the path of a tokenizer.json, or use maxChars.");
  const inputs = inputsOf(params);
  const weighted = inputs.filter((input) => input.weight !== undefined).length;
  if (weighted > 0 && weighted < inputs.length) refuse("input", "INCOMPLETE_WEIGHTS", "Some inputs have a weight and some have none.", "Give every input a weight, or none.");
  if (params.task !== "rl" && params.answerPattern !== undefined) refuse("answerPattern", "UNUSED_FIELD", "answerPattern finds ground truths, which only task rl has.", "Remove it, or set task: rl.");
  if (params.answerPattern !== undefined && inputs.every((input) => input.columns?.groundTruth !== undefined)) {
    refuse("answerPattern", "UNUSED_FIELD", "columns.groundTruth names the ground truth, so answerPattern would find nothing to do.", "Remove one of the two; name the column in columns.answer when the ground truth stands inside of it.");
  }
  const told = new Set<string>();
  inputs.forEach((input, index) => {
    refuseInput(params, input, (field, code, message, hint) => {
      const whole = pathOfInputField(params, index, field);
      if (told.size === told.add(`${whole} ${code} ${message}`).size) return; // one field may hold for many inputs
      refuse(whole, code, message, hint);
    });
  });
  return problems;
}

type Refuse = (field: string, code: string, message: string, hint: string | null) => void;

/** Where a field of an input stands: at the input when it is given there, otherwise beside it. */
function pathOfInputField(params: PreprocessParams, index: number, field: string): string {
  const input = Array.isArray(params.input) ? params.input[index] : params.input;
  if (input === undefined || typeof input === "string" || !Object.hasOwn(input, field)) return field;
  return Array.isArray(params.input) ? `input[${index}].${field}` : `input.${field}`;
}

function refusePatterns(params: PreprocessParams, refuse: Refuse): void {
  for (const [field, pattern] of [["answerPattern", params.answerPattern], ["filter.match", params.filter?.match], ["filter.noMatch", params.filter?.noMatch]] as const) {
    const why = pattern === undefined ? null : patternError(pattern);
    if (why !== null) refuse(field, "INVALID_PATTERN", `${field} is no regular expression: ${why}.`, "It is read as JavaScript with the flag u.");
  }
  for (const script of params.filter?.scripts ?? []) {
    if (patternError(`\\p{Script=${script}}`) !== null) refuse("filter.scripts", "UNKNOWN_SCRIPT", `Unicode has no script "${script}".`, "Scripts are named like Latin, Han, Cyrillic, Arabic, Hangul.");
  }
  const template = params.promptTemplate === undefined ? null : parseTemplate(params.promptTemplate);
  if (template !== null && "problem" in template) refuse("promptTemplate", "INVALID_TEMPLATE", `promptTemplate is no template: ${template.problem}.`, "Write the names of columns in braces, e.g. \"{question}\".");
}

function refuseBounds(filter: RowFilter | undefined, refuse: Refuse): void {
  if (filter === undefined) return;
  const ranges: [string, number | undefined, number | undefined][] = [["Chars", filter.minChars, filter.maxChars], ["Turns", filter.minTurns, filter.maxTurns], ["Tokens", filter.minTokens, filter.maxTokens]];
  for (const [what, min, max] of ranges) refuseRange("filter", what, min, max, refuse);
  for (const [role, bounds] of Object.entries(filter.roles ?? {})) refuseRange(`filter.roles.${role}`, "Chars", bounds?.minChars, bounds?.maxChars, refuse);
}

function refuseRange(field: string, what: string, min: number | undefined, max: number | undefined, refuse: Refuse): void {
  if (min !== undefined && max !== undefined && min > max) refuse(`${field}.min${what}`, "INVALID_RANGE", `min${what} is ${min}, more than max${what}, which is ${max}: no row could pass.`, "Swap them, or remove one.");
}

function refuseInput(params: PreprocessParams, input: PreprocessInput, refuse: Refuse): void {
  const roles = new Set(Object.keys(input.columns ?? {}) as ColumnRole[]);
  if (CONTENT_ROLES.some((role) => roles.has(role))) refuseColumns(params, roles, refuse);
  if (params.task === "rl") refuseDataSource(params, input, refuse);
}

/** Named columns must make up a whole row of the task: what is not named is not looked for. */
function refuseColumns(params: PreprocessParams, roles: ReadonlySet<ColumnRole>, refuse: Refuse): void {
  const has = (...some: readonly ColumnRole[]) => some.some((role) => roles.has(role));
  const asks = has(...QUESTION_ROLES, "input") || params.promptTemplate !== undefined;
  if (params.task === "preference") {
    if (!has("chosen") || !has("rejected")) refuse("columns", "MISSING_FIELD", "Task preference needs the columns chosen and rejected.", "Name them in columns, or leave columns out to have them recognised.");
    return;
  }
  if (params.promptTemplate !== undefined && has("messages", "conversations") && !has(...QUESTION_ROLES.slice(2), ...ANSWER_ROLES, "input", "chosen", "groundTruth")) {
    refuse("columns", "UNUSED_FIELD", "promptTemplate makes the prompt from columns, so a dialogue in messages or conversations is not read.", "Remove promptTemplate, or name the columns that ask and answer.");
    return;
  }
  if (!asks && !has("chosen")) refuse("columns", "MISSING_FIELD", "No named column asks.", `Name one of ${QUESTION_ROLES.join(", ")} in columns, or leave columns out to have them recognised.`);
  const answers = has("messages", "conversations", ...ANSWER_ROLES, "chosen");
  if (params.task === "sft" && !answers) refuse("columns", "MISSING_FIELD", "Task sft needs a column with the answer.", `Name one of ${ANSWER_ROLES.join(", ")} in columns, or leave columns out to have them recognised.`);
}

function refuseDataSource(params: PreprocessParams, input: PreprocessInput, refuse: Refuse): void {
  if (params.customReward || params.rewardStyle === "model") return;
  if (input.dataSource === undefined) {
    if (input.columns?.dataSource !== undefined) return;
    refuse("dataSource", "MISSING_FIELD", "Task rl needs a dataSource: verl chooses the scorer by it.", "Name one that verl scores (e.g. openai/gsm8k), a column in columns.dataSource, or set customReward: true and give the training stage a reward function.");
  } else if (!hasScorer(input.dataSource)) {
    const near = nearestName(input.dataSource, KNOWN_DATA_SOURCES) ?? KNOWN_DATA_SOURCES.find((name) => name.endsWith(`/${input.dataSource}`)) ?? null;
    const custom = "set customReward: true and give the training stage a reward function.";
    refuse("dataSource", "NO_SCORER", `verl has no scorer for data_source "${input.dataSource}".`, near === null ? `S${custom.slice(1)}` : `Did you mean "${near}"? Otherwise ${custom}`);
  }
}

function patternError(pattern: string): string | null {
  try {
    new RegExp(pattern, "u");
    return null;
  } catch (error) {
    return (error as Error).message.replace(/^Invalid regular expression: /, "");
  }
}
