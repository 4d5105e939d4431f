// Turns a record of any known shape into a row of the stage's task, or says why it cannot. Pure; never throws, whatever the record holds.
//   C1. promptKey depends on what was asked alone, never on task, template or system prompt: stages over one file split alike.
//   C2. The result depends on params and record alone, so that it is the same on every machine.

import { abilityOf, hasScorer } from "../../domain/data/data-sources.js";
import type { DataTask, PreprocessInput, PreprocessParams } from "../../domain/data/preprocess-params.js";
import { ANSWER_ROLES, QUESTION_ROLES } from "../../domain/data/usual-columns.js";
import { parseTemplate, type TemplatePart } from "../../domain/data/prompt-template.js";
import type { RejectReason, SourceRecord } from "../read/records.js";
import { createColumnFinder, filled, namesContent, scalarText, valueOf, type ColumnMap, type RecordValue } from "./columns.js";
import { dialogueProblem, isBlank, promptKeyOf } from "./dialogue.js";
import { notText, readExchange, sameMessage, type Exchange, type Reading } from "./exchange.js";
import { categoryOf, keptColumns } from "./extra.js";
import { asGroundTruth, createTruthFinder } from "./ground-truth.js";
import { Reject, shown } from "./reject.js";
import type { Message, TrainingRow } from "./training-row.js";
import { readVerlRow, type VerlRow } from "./verl-row.js";

export type Conversion = { readonly row: TrainingRow } | { readonly row?: undefined; readonly reason: RejectReason; readonly message: string };

/** data_source of rows that a reward function of the user's scores and that name none. */
export const CUSTOM_DATA_SOURCE = "custom";

/** What one input of a stage needs, worked out once. */
interface Recipe extends Reading {
  readonly params: PreprocessParams;
  readonly input: PreprocessInput;
  readonly template: { readonly parts: readonly TemplatePart[]; readonly fields: readonly string[] } | null;
  readonly findTruth: ((answer: string) => string | null) | null;
}

/** The conversion for one input of a stage. `input` is as inputsOf gives it, with what holds for all filled in. Throws on a template or pattern that
 *  preprocessProblems refuses. */
export function createConverter(params: PreprocessParams, input: PreprocessInput): (record: Pick<SourceRecord, "value">) => Conversion {
  const columns = input.columns ?? params.columns;
  const template = params.promptTemplate === undefined ? null : parseTemplate(params.promptTemplate);
  if (template !== null && "problem" in template) throw new TypeError(`promptTemplate: ${template.problem}`);
  const findTruth = params.answerPattern === undefined ? null : createTruthFinder(params.answerPattern);
  const recipe: Recipe = { task: params.task, explicit: namesContent(columns), templated: template !== null, params, input: { ...input, ...(columns === undefined ? {} : { columns }) }, template, findTruth };
  const find = createColumnFinder(columns);
  return ({ value }) => {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return new Reject("NOT_AN_OBJECT", `The row is ${shown(value)}.`);
    const row = convert(value, find(value), recipe);
    return row instanceof Reject ? row : { row };
  };
}

function convert(value: RecordValue, columns: ColumnMap, recipe: Recipe): TrainingRow | Reject {
  const exchange = readExchange(value, columns, recipe);
  if (exchange instanceof Reject) return exchange;
  const verl = recipe.task === "rl" ? readVerlRow(value, exchange, recipe.input.columns?.groundTruth !== undefined) : null;
  if (verl instanceof Reject) return verl;
  const prompt = recipe.template === null ? exchange.prompt : fillTemplate(recipe.template.parts, value);
  if (prompt instanceof Reject) return prompt;
  const system = exchange.system ?? recipe.params.systemPrompt ?? null;
  const whole: readonly Message[] = system === null || isBlank(system) ? prompt : [{ role: "system", content: system }, ...prompt];
  const content = contentOf(recipe.task, whole, exchange, value, columns, recipe, verl);
  if (content instanceof Reject) return content;
  const extra = keptColumns(value, recipe.params.keepColumns, verl?.further);
  if (extra instanceof Reject) return extra;
  const categories = recipe.params.countBy.map((column) => categoryOf(value, column));
  return { ...content, extra, promptKey: verl?.question?.trim() ?? keyOf(exchange, value, recipe), categories };
}

function contentOf(task: DataTask, prompt: readonly Message[], exchange: Exchange, value: RecordValue, columns: ColumnMap, recipe: Recipe, verl: VerlRow | null) {
  switch (task) {
    case "sft": return sftContent(prompt, exchange, recipe);
    case "rl": return rlContent(prompt, exchange, value, columns, recipe, verl);
    case "preference": return preferenceContent(prompt, exchange);
  }
}

function sftContent(prompt: readonly Message[], { answer, whole }: Exchange, { input }: Recipe) {
  if (answer === null && !whole) return noAnswer(input, "answer");
  const messages = answer === null ? prompt : [...prompt, ...answer];
  const problem = dialogueProblem(messages, "assistant");
  return problem === null ? { task: "sft" as const, messages } : new Reject("BAD_DIALOGUE", problem);
}

function preferenceContent(prompt: readonly Message[], { answer, rejected }: Exchange) {
  const [better, worse] = [answer!, rejected!];
  const problem = dialogueProblem(prompt, "user");
  if (problem !== null) return new Reject("BAD_DIALOGUE", `Prompt: ${problem}`);
  for (const [name, messages] of [["chosen", better], ["rejected", worse]] as const) {
    const found = dialogueProblem([...prompt, ...messages], "assistant");
    if (found !== null) return new Reject("BAD_DIALOGUE", `With ${name}: ${found}`);
  }
  if (better.length === worse.length && better.every((message, index) => sameMessage(message, worse[index]!))) return new Reject("SAME_ANSWERS", "chosen and rejected are equal, so there is nothing to prefer.");
  return { task: "preference" as const, prompt, chosen: better, rejected: worse };
}

function rlContent(prompt: readonly Message[], exchange: Exchange, value: RecordValue, columns: ColumnMap, recipe: Recipe, verl: VerlRow | null) {
  const problem = dialogueProblem(prompt, "user");
  if (problem !== null) return new Reject("BAD_DIALOGUE", problem);
  const { params, input } = recipe;
  const style = params.rewardStyle ?? verl?.style ?? "rule";
  const dataSource = textOf(value, columns.dataSource, input.columns?.dataSource, input.dataSource ?? params.dataSource);
  if (dataSource instanceof Reject) return dataSource;
  const needsScorer = style === "rule" && !params.customReward;
  if (dataSource === null && needsScorer) return new Reject("MISSING_COLUMN", "The row names no data_source. Give dataSource, or set customReward: true.");
  if (needsScorer && !hasScorer(dataSource!)) return new Reject("NO_SCORER", `verl has no scorer for data_source ${shown(dataSource)}. Set customReward: true and give the training stage a reward function.`);
  const ability = textOf(value, columns.ability, input.columns?.ability, params.ability);
  if (ability instanceof Reject) return ability;
  const answer = verl === null ? exchange.answer?.at(-1)?.content ?? null : verl.answer;
  const groundTruth = verl?.groundTruth ?? truthOf(answer, value, columns, recipe, needsScorer);
  if (groundTruth instanceof Reject) return groundTruth;
  return {
    task: "rl" as const, prompt, dataSource: dataSource ?? CUSTOM_DATA_SOURCE, ability: ability ?? abilityOf(dataSource ?? CUSTOM_DATA_SOURCE), style, groundTruth,
    question: verl === null ? exchange.question : verl.question, answer,
  };
}

/** What a right answer is judged against: the column that `columns` names; what answerPattern finds; the column with the usual name; the answer itself. Only a
 *  scorer of verl's must have one; a reward model or a function of the user's may do without. */
function truthOf(answer: string | null, value: RecordValue, columns: ColumnMap, recipe: Recipe, needed: boolean): string | Reject {
  const { params, input, findTruth } = recipe;
  const named = input.columns?.groundTruth;
  const column = named !== undefined || findTruth === null || answer === null ? filled(value, columns.groundTruth) : null;
  if (column !== null) {
    const text = scalarText(value[column]);
    if (text === undefined) return notText(value, column);
    return !isBlank(text) || !needed ? asGroundTruth(text) : new Reject("NO_GROUND_TRUTH", `Column "${column}", which should hold the ground truth, is blank.`);
  }
  if (named !== undefined && needed) return new Reject("MISSING_COLUMN", `Column "${named}", which should hold the ground truth, is ${valueOf(value, named) === null ? "null" : "missing"}.`);
  if (answer === null) return needed ? noAnswer(input, "ground truth and no answer to find it in") : "";
  if (isBlank(answer)) return params.filter?.emptyAnswers !== "keep" || !needed ? "" : new Reject("NO_GROUND_TRUTH", "The answer is blank."); // filtered as EMPTY_ANSWER
  if (findTruth === null) return asGroundTruth(answer);
  return findTruth(answer) ?? new Reject("NO_GROUND_TRUTH", `answerPattern finds nothing in the answer; it ends with ${shown(answer.slice(-50).toWellFormed())}.`);
}

/** A text beside the dialogue: the named column where it is filled, then what holds for the whole input, then the column with the usual name. */
function textOf(value: RecordValue, columns: readonly string[], named: string | undefined, forAll: string | undefined): string | null | Reject {
  const column = named === undefined && forAll !== undefined ? null : filled(value, columns);
  if (column === null) return forAll ?? null;
  const text = scalarText(value[column]);
  return text === undefined ? notText(value, column) : isBlank(text) ? forAll ?? null : text;
}

function fillTemplate(parts: readonly TemplatePart[], value: RecordValue): readonly Message[] | Reject {
  let content = "";
  for (const part of parts) {
    if ("text" in part) {
      content += part.text;
      continue;
    }
    const held = valueOf(value, part.field);
    const text = scalarText(held);
    if (text === undefined) return new Reject("TEMPLATE_FIELD", `promptTemplate needs column "${part.field}", which ${held === undefined ? "is missing" : `holds ${shown(held)}`}.`);
    content += text;
  }
  return [{ role: "user", content }];
}

/** Where no column asks, the template's columns together are the question. */
function keyOf(exchange: Exchange, value: RecordValue, { template }: Recipe): string {
  if (exchange.prompt.length > 0 || template === null) return promptKeyOf(exchange.prompt);
  return template.fields.toSorted().map((field) => `${(scalarText(valueOf(value, field)) ?? "").trim()}\0`).join("");
}

function noAnswer({ columns }: PreprocessInput, what: string): Reject {
  const named = [...ANSWER_ROLES, ...QUESTION_ROLES].flatMap((role) => columns?.[role] ?? []);
  return new Reject("MISSING_COLUMN", `The row brings no ${what}${named.length > 0 ? ` in ${named.map((column) => `"${column}"`).join(", ")}` : ""}. Columns with the usual names (${ANSWER_ROLES.join(", ")}, …) are missing or null; name the right one in \`columns\`.`);
}
