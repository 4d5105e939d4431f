// The input of bench:preprocess: rows of a made-up chat data set, always the same ones, with what real files have wrong in known numbers.

import { closeSync, openSync, writeSync } from "node:fs";

/** Characters of a row's messages beyond which it is too long. Sound rows stay far below, over-long ones far above: every way of counting agrees. */
export const MAX_CHARS = 16_000;

export interface InputFacts {
  readonly bytes: number;
  readonly lines: number;
  readonly broken: number;
  readonly badRoles: number;
  readonly overLong: number;
  readonly duplicates: number;
  /** What is left when all of these are out. */
  readonly sound: number;
}

const ASIDES = [
  "\"Why,\" she asked, \"does C:\\temp\\new\\table matter?\"", "小明有三十三个苹果，每天吃掉两个，几天以后还剩五个？", "列車は九時に駅を出発し、時速八十キロで走ります。", "😀 Give the answer as a number. 👩‍🔬", "Line one\n\tline two, indented\nline three",
  "Сколько бутылок помещается в один ящик?", "Let f(x) = x^2 - 3x + 2; find every x where f(x) <= 0.", "Return {\"answer\": 42, \"unit\": \"km\"} and nothing else.",
];
const SYLLABLES = ["ra", "ti", "mo", "ken", "sal", "ve", "dur", "il", "pon", "as", "gre", "th", "ou", "lin", "ce", "bar", "nu", "ity", "fol", "ex"];
const FLUSH_BYTES = 1 << 20;
const REMEMBERED = 1_000;

/** Writes about `bytes` bytes of JSON lines: 0.5 % cut off, 0.5 % with an unknown role, 2 % over-long, 4 % repeated from further up. */
export function writeBenchInput(path: string, bytes: number): InputFacts {
  const chance = randomNumbers(20_260_824);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(chance() * from.length)]!;
  const words = Array.from({ length: 8_000 }, () => Array.from({ length: 1 + Math.floor(chance() * 4) }, () => pick(SYLLABLES)).join(""));
  const clauses = Array.from({ length: 20_000 }, () => Array.from({ length: 4 + Math.floor(chance() * 12) }, () => pick(words)).join(" "));
  const text = () => Array.from({ length: 16 + Math.floor(chance() * 45) }, () => (chance() < 0.08 ? pick(ASIDES) : pick(clauses))).join(". ");
  const counts = { bytes: 0, lines: 0, broken: 0, badRoles: 0, overLong: 0, duplicates: 0, sound: 0 };
  const earlier: string[] = [];
  const file = openSync(path, "w");
  let waiting = "";
  const flush = () => {
    counts.bytes += writeSync(file, waiting);
    waiting = "";
  };
  while (counts.bytes + waiting.length < bytes) {
    const kind = chance();
    const number = counts.lines++;
    const line = (role: string, content: string) => JSON.stringify({ id: number, prompt: [{ role: "system", content: "You are a careful assistant." }, { role, content: `${number}. ${content}` }], ground_truth: String(number * 7), tags: ["bench", `t${number % 17}`] });
    if (kind < 0.005) {
      const whole = line("user", text());
      waiting += whole.slice(0, whole.length >> 1);
      counts.broken++;
    } else if (kind < 0.01) {
      waiting += line("robot", text());
      counts.badRoles++;
    } else if (kind < 0.03) {
      waiting += line("user", text().padEnd(20_000, " and so on"));
      counts.overLong++;
    } else if (kind < 0.07 && earlier.length === REMEMBERED) {
      waiting += pick(earlier);
      counts.duplicates++;
    } else {
      const sound = line("user", text());
      earlier[counts.sound % REMEMBERED] = sound;
      waiting += sound;
      counts.sound++;
    }
    waiting += "\n";
    if (waiting.length > FLUSH_BYTES) flush();
  }
  flush();
  closeSync(file);
  return counts;
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
