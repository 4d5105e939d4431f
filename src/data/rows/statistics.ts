// Figures about the rows that were kept, gathered row by row in bounded memory.

import type { DatasetStatistics, Distribution } from "../../domain/data/dataset.js";
import { charactersIn, charactersOf, messagesOf, turnsOf } from "./content.js";
import { createDistribution, type DistributionCounter } from "./distribution.js";
import { estimateTokens, tokensOf, type TokenCounter } from "./tokens.js";
import { ROLES, type Message, type TrainingRow } from "./training-row.js";

/** Values of a column that are counted one by one; all others are counted together. */
const MAX_VALUES = 100;
const OTHERS = "…";

export interface StatisticsCounter {
  add(row: TrainingRow): void;
  result(): DatasetStatistics;
}

/** Counted without being asked for, in rows for reinforcement learning: verl chooses the scorer by it. */
export const SOURCE_COLUMN = "data_source";

/** `countBy` are the columns whose values the rows carry in `categories`; `tokens` null estimates. Characters are Unicode code points; for sft and rl by role (and
 *  ground_truth), for preference by column. A role is counted in the rows that have it. Turns of a preference row are those with the better answer; its tokens are
 *  those of all its messages. */
export function createStatistics(options: { countBy: readonly string[]; tokens: TokenCounter | null }): StatisticsCounter {
  const counter: TokenCounter = options.tokens ?? { count: estimateTokens };
  const characters = new Map<string, DistributionCounter>();
  const turns = createDistribution();
  const tokens = createDistribution();
  const categories = options.countBy.map(() => new Map<string, number>());
  const sources = new Map<string, number>();
  let [rows, totalTokens] = [0, 0];

  const take = (name: string, count: number): void => {
    let distribution = characters.get(name);
    if (distribution === undefined) characters.set(name, (distribution = createDistribution()));
    distribution.add(count);
  };
  return {
    add(row) {
      rows++;
      takeCharacters(row, take);
      turns.add(row.task === "preference" ? turnsOf(row.prompt) + turnsOf(row.chosen) : turnsOf(messagesOf(row)));
      const count = tokensOf(messagesOf(row), counter);
      tokens.add(count);
      totalTokens += count;
      for (let index = 0; index < categories.length; index++) countValue(categories[index]!, row.categories[index] ?? null);
      if (row.task === "rl") countValue(sources, row.dataSource);
    },
    result() {
      const found = [...characters].map(([name, distribution]): [string, Distribution | null] => [name, distribution.result()]);
      const spread = tokens.result();
      return {
        rows,
        characters: Object.fromEntries(found.filter((one): one is [string, Distribution] => one[1] !== null).sort(byName)),
        turns: turns.result(),
        tokens: spread === null ? null : { by: options.tokens === null ? "estimate" : "tokenizer", total: totalTokens, distribution: spread },
        categories: { ...countsOf(SOURCE_COLUMN, sources), ...Object.fromEntries(options.countBy.map((column, index) => [column, Object.fromEntries([...categories[index]!].sort(byCount))])) },
      };
    },
  };
}

/** The counts of a column as statistics hold them; nothing where there are none. */
export function countsOf(column: string, counts: ReadonlyMap<string, number>): Readonly<Record<string, Readonly<Record<string, number>>>> {
  return counts.size === 0 ? {} : { [column]: Object.fromEntries([...counts].sort(byCount)) };
}

function takeCharacters(row: TrainingRow, take: (name: string, count: number) => void): void {
  if (row.task === "preference") {
    take("prompt", charactersOf(row.prompt));
    take("chosen", charactersOf(row.chosen));
    take("rejected", charactersOf(row.rejected));
    return;
  }
  takeRoles(row.task === "sft" ? row.messages : row.prompt, take);
  if (row.task === "rl") take("ground_truth", charactersIn(row.groundTruth));
}

function takeRoles(messages: readonly Message[], take: (name: string, count: number) => void): void {
  for (const role of ROLES) {
    let [sum, has] = [0, false];
    for (const message of messages) {
      if (message.role !== role) continue;
      sum += charactersIn(message.content);
      has = true;
    }
    if (has) take(role, sum);
  }
}

/** Rows without a value count under "null". Which values get a counter of their own is decided in the order of the rows. */
export function countValue(values: Map<string, number>, value: string | null): void {
  const name = value ?? "null";
  const key = values.has(name) || values.size < MAX_VALUES ? name : OTHERS;
  values.set(key, (values.get(key) ?? 0) + 1);
}

function byName(left: readonly [string, unknown], right: readonly [string, unknown]): number {
  return left[0] < right[0] ? -1 : 1;
}

/** Most frequent first. */
function byCount(left: readonly [string, number], right: readonly [string, number]): number {
  return right[1] - left[1] || byName(left, right);
}
