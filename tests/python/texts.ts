// Texts that break careless readers, and rows made of them in every shape that preprocess knows, with what each must become.

import fc from "fast-check";

export interface Message { readonly role: string; readonly content: string }
/** One input file: its rows, and what a stage must make of each. */
export interface Shape<Expected> { readonly name: string; readonly rows: readonly Record<string, unknown>[]; readonly expected: readonly Expected[] }
export interface Pair { readonly prompt: readonly Message[]; readonly chosen: readonly Message[]; readonly rejected: readonly Message[] }
export interface Task { readonly prompt: readonly Message[]; readonly truth: string; readonly question: string }

const NASTY = [
  "😀👩‍👩‍👧‍👦🏳️‍🌈", "数学の問題：三十三", "سؤال في الرياضيات ١٢٣", "שאלה \u202Eהפוך\u202C", "e\u0301 ﬀ ﷺ \u{10FFFF} \u{1F9D1}\u{1F3FD}", "\\n \\u0000 \\\" \\\\", "\"quoted\", 'single', `back`", "a\tb\nc\r\nd\re",
  "\u2028\u2029\u0085\u200B\uFEFF\u00A0", "\u0001\u001F\u007F\u0080\uFFFD", "{\"role\": \"system\"}", "{{ message }} {% for %} ${x}", "<image> <|im_end|>\n<|im_start|>", "NaN null true 1e400 -0 2^53+1", "1,234.50 #### 7", ",;\t\"\"", "x".repeat(3_000),
];
const text = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: "binary", maxLength: 40 }), fc.string({ unit: "grapheme", maxLength: 40 }), fc.array(fc.constantFrom(...NASTY), { minLength: 2, maxLength: 4 }).map((parts) => parts.join(" ")))
  .filter((value) => !value.includes("\0") && value.trim() !== "");

/** So many distinct texts, always the same ones. */
function texts(count: number, seed: number): string[] {
  return fc.sample(text, { numRuns: count, seed }).map((value, index) => `${index} ${value}`);
}

const says = (role: string, content: string): Message => ({ role, content });
const user = (content: string) => says("user", content);
const assistant = (content: string) => says("assistant", content);

function shape<Expected>(name: string, count: number, seed: number, width: number, row: (...parts: string[]) => [Record<string, unknown>, Expected]): Shape<Expected> {
  const columns = Array.from({ length: width }, (_, index) => texts(count, seed * 100 + index));
  const made = Array.from({ length: count }, (_, index) => row(...columns.map((column) => column[index]!)));
  return { name, rows: made.map(([value]) => value), expected: made.map(([, expected]) => expected) };
}

export function dialogues(count: number): Shape<readonly Message[]>[] {
  return [
    shape("messages", count, 1, 5, (a, b, c, d, e) => {
      const messages = [says("system", a!), user(b!), assistant(c!), user(d!), assistant(e!)];
      return [{ messages }, messages];
    }),
    shape("prompt-response", count, 2, 2, (a, b) => [{ prompt: a, response: b }, [user(a!), assistant(b!)]]),
    shape("alpaca", count, 3, 3, (a, b, c) => [{ instruction: a, input: b, output: c }, [user(`${a}\n\n${b}`), assistant(c!)]]),
    shape("sharegpt", count, 4, 3, (a, b, c) => [{ conversations: [{ from: "system", value: a }, { from: "human", value: b }, { from: "gpt", value: c }] }, [says("system", a!), user(b!), assistant(c!)]]),
    shape("question-answer", count, 5, 2, (a, b) => [{ question: a, answer: b }, [user(a!), assistant(b!)]]),
    shape("chosen", count, 6, 3, (a, b, c) => [{ prompt: a, chosen: b, rejected: c }, [user(a!), assistant(b!)]]),
  ];
}

export function pairs(count: number): Shape<Pair>[] {
  const pair = (a: string, b: string, c: string): Pair => ({ prompt: [user(a)], chosen: [assistant(b)], rejected: [assistant(`${c}!`)] });
  return [
    shape("strings", count, 11, 3, (a, b, c) => [{ prompt: a, chosen: b, rejected: `${c}!` }, pair(a!, b!, c!)]),
    shape("messages", count, 12, 3, (a, b, c) => { const expected = pair(a!, b!, c!); return [{ ...expected }, expected]; }),
    shape("dialogues", count, 13, 3, (a, b, c) => {
      const expected = pair(a!, b!, c!);
      return [{ chosen: [...expected.prompt, ...expected.chosen], rejected: [...expected.prompt, ...expected.rejected] }, expected];
    }),
  ];
}

export function tasks(count: number): Shape<Task>[] {
  return [
    // A ground truth is trimmed, so these have no space at their ends.
    shape("ground-truth", count, 21, 2, (a, b) => [{ prompt: a, ground_truth: `<${b}>` }, { prompt: [user(a!)], truth: `<${b}>`, question: a! }]),
    shape("messages", count, 22, 3, (a, b, c) => {
      const prompt = [says("system", a!), user(b!)];
      return [{ messages: prompt, ground_truth: `<${c}>` }, { prompt, truth: `<${c}>`, question: b! }];
    }),
  ];
}
