// How many tokens a text has: exactly, by a tokenizer.json of the Hugging Face kind, or estimated from its characters.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import type { Message } from "./training-row.js";

export interface TokenCounter {
  /** Tokens of the text alone: nothing is added before or after it. */
  count(text: string): number;
  /** Counts that were made already, so that filter and statistics tokenise a message once. */
  readonly known?: WeakMap<Message, number>;
}

/** The tokenizer file is missing, is no tokenizer.json, or is of a kind that cannot be run here. */
export class TokenizerError extends Error {
  readonly code = "INVALID_TOKENIZER";
  constructor(path: string, why: string, options?: { cause?: unknown }) {
    super(`Tokenizer ${path}: ${why}. Give the tokenizer.json of the model that is trained, or leave \`tokenizer\` out and limit characters.`, options);
    this.name = "TokenizerError";
  }
}

/** Opens a tokenizer.json; a tokenizer_config.json beside it is used when there is one. Throws TokenizerError. */
export async function openTokenizer(path: string): Promise<TokenCounter> {
  const definition = await readObject(path, path);
  const config = await readObject(join(dirname(path), "tokenizer_config.json"), path).catch((error: unknown) => {
    if (error instanceof TokenizerError && (error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return {};
    throw error;
  });
  if (!("model" in definition)) throw new TokenizerError(path, "it has no \"model\", so it is no tokenizer.json");
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(definition, config);
    tokenizer.encode("a", { add_special_tokens: false });
  } catch (error) {
    throw new TokenizerError(path, `it cannot be used (${(error as Error).message})`, { cause: error });
  }
  return { count: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids.length, known: new WeakMap() };
}

async function readObject(path: string, tokenizerPath: string): Promise<object> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new TokenizerError(tokenizerPath, `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, { cause: error });
  }
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(text);
  } catch { /* said below */ }
  if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) throw new TokenizerError(tokenizerPath, `${path} holds no JSON object`);
  return parsed;
}

/** Tokens of the messages' texts, one by one, without what a chat template adds. */
export function tokensOf(messages: readonly Message[], counter: TokenCounter): number {
  let sum = 0;
  for (const message of messages) {
    let count = counter.known?.get(message);
    if (count === undefined) {
      count = counter.count(message.content);
      counter.known?.set(message, count);
    }
    sum += count;
  }
  return sum;
}

const BEYOND_ASCII = /[^\0-\x7f]/;
const TOKENS_PER_ASCII = 0.25;
const TOKENS_PER_IDEOGRAPH = 0.7;
const TOKENS_PER_OTHER = 0.5;

/** Tokens as today's vocabularies of 100,000 and more would count them, roughly: 4 ASCII characters a token, 0.7 tokens an ideograph, syllable of Hangul or kana,
 *  and 2 other characters a token. Off by a third in either direction for code, digits and rare languages. */
export function estimateTokens(text: string): number {
  if (!BEYOND_ASCII.test(text)) return Math.ceil(text.length * TOKENS_PER_ASCII);
  let [ascii, ideographs] = [0, 0];
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) ascii++;
    else if ((unit >= 0x2e80 && unit <= 0x9fff) || (unit >= 0xac00 && unit <= 0xd7a3) || (unit >= 0xf900 && unit <= 0xfaff)) ideographs++;
  }
  return Math.ceil(ascii * TOKENS_PER_ASCII + ideographs * TOKENS_PER_IDEOGRAPH + (text.length - ascii - ideographs) * TOKENS_PER_OTHER);
}
