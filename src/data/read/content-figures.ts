// Figures about the texts of a file's rows, by role where a column holds a dialogue, by column where it holds plain text.

import type { DatasetStatistics, Distribution } from "../../domain/data/dataset.js";
import { charactersIn } from "../rows/content.js";
import { createDistribution, type DistributionCounter } from "../rows/distribution.js";
import { countsOf, countValue, SOURCE_COLUMN } from "../rows/statistics.js";
import { estimateTokens } from "../rows/tokens.js";

/** Columns and roles that are told apart. */
const MAX_NAMES = 50;

export interface ContentFigures {
  /** Turns of a preference row are those of prompt and chosen, as rows/statistics.ts counts them; its characters and tokens are those of all its messages. */
  add(row: Readonly<Record<string, unknown>>): void;
  /** Null when no row held a text. `rows`: all of the file. */
  result(rows: number): DatasetStatistics | null;
}

export function createContentFigures(): ContentFigures {
  const characters = new Map<string, DistributionCounter>();
  const turns = createDistribution();
  const tokens = createDistribution();
  const sources = new Map<string, number>();
  let total = 0;
  const take = (name: string, count: number) => {
    let counter = characters.get(name);
    if (counter === undefined) {
      if (characters.size === MAX_NAMES) return;
      characters.set(name, (counter = createDistribution()));
    }
    counter.add(count);
  };
  return {
    add(row) {
      let estimate = 0;
      let messages = 0;
      let dialogue = false;
      const isPair = Array.isArray(row["chosen"]);
      for (const name in row) {
        const value = row[name];
        if (typeof value === "string") {
          take(name, charactersIn(value));
          estimate += estimateTokens(value);
        } else if (Array.isArray(value)) {
          const roles = new Map<string, number>();
          for (const one of value as unknown[]) {
            const message = messageOf(one);
            if (message === null) break;
            roles.set(message.role, (roles.get(message.role) ?? 0) + charactersIn(message.content));
            estimate += estimateTokens(message.content);
            if ((message.role === "user" || message.role === "assistant") && !(isPair && name === "rejected")) messages++;
            dialogue = true;
          }
          for (const [role, count] of roles) take(role, count);
        }
      }
      if (typeof row[SOURCE_COLUMN] === "string") countValue(sources, row[SOURCE_COLUMN]);
      if (dialogue) turns.add(messages);
      tokens.add(estimate);
      total += estimate;
    },
    result(rows) {
      const found = [...characters].map(([name, counter]) => [name, counter.result()] as const).filter((one): one is readonly [string, Distribution] => one[1] !== null);
      if (found.length === 0) return null;
      const distribution = tokens.result();
      return {
        rows,
        characters: Object.fromEntries(found.sort(([left], [right]) => (left < right ? -1 : 1))),
        turns: turns.result(),
        tokens: distribution === null ? null : { by: "estimate", total, distribution },
        categories: countsOf(SOURCE_COLUMN, sources),
      };
    },
  };
}

/** ShareGPT's words for OpenAI's roles. */
const ROLE_OF: Readonly<Record<string, string>> = { human: "user", gpt: "assistant" };

function messageOf(value: unknown): { role: string; content: string } | null {
  if (typeof value !== "object" || value === null) return null;
  const { role, content, from, value: text } = value as { role?: unknown; content?: unknown; from?: unknown; value?: unknown };
  if (typeof role === "string" && typeof content === "string") return { role: role.slice(0, 40), content };
  if (typeof from === "string" && typeof text === "string") return { role: Object.hasOwn(ROLE_OF, from) ? ROLE_OF[from]! : from.slice(0, 40), content: text };
  return null;
}
