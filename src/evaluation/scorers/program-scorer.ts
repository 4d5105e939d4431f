// A scorer of the user's: a program that reads one JSON object per line and answers each with one: {prompt, response, groundTruth, …} in, {score, …} out.
//   P1. One answer is judged at a time, so a line out belongs to the last line in.
//   P2. A program that ends, says something else or takes too long is ended and started again; the answer it had is given up after TRIES.
//   P3. Its standard error goes to the stage's log.

import { spawn, type ChildProcess } from "node:child_process";
import type { Message } from "../../data/rows/training-row.js";
import { EvaluationRefusedError } from "../evaluation-errors.js";
import { shortened, type Score } from "./scorer.js";

export interface ScorerQuestion {
  readonly id: string;
  readonly prompt: readonly Message[];
  readonly response: string;
  readonly groundTruth: string;
  readonly dataSource: string;
}

export interface ProgramScorer {
  /** Throws ScorerFailedError for this answer, EvaluationRefusedError when the program cannot be started or never works. */
  score(question: ScorerQuestion): Promise<Score>;
  /** Ends the program: its input is closed, and a second later it is killed. */
  close(): Promise<void>;
}

/** The program gave no score for one answer. */
export class ScorerFailedError extends Error {
  override readonly name = "ScorerFailedError";
}

/** Times that one answer is given to the program. */
const TRIES = 2;
/** Answers in a row without a score after which the program is taken to be broken. */
const MOST_FAILURES = 5;
const MOST_LINE_BYTES = 1_048_576;
const CLOSE_MS = 1_000;
const MOST_FIGURES = 50;

export function createProgramScorer(options: { argv: readonly string[]; environment: Readonly<Record<string, string | undefined>>; timeoutMs: number; say(text: string): void }): ProgramScorer {
  const { argv, environment, timeoutMs, say } = options;
  let child: Running | null = null;
  let failures = 0;
  let turn: Promise<unknown> = Promise.resolve();

  const judge = async (question: ScorerQuestion): Promise<Score> => {
    let why = "";
    for (let tries = 1; tries <= TRIES; tries++) {
      child ??= start(argv, environment);
      try {
        const score = readScore(await child.ask(`${JSON.stringify(question)}\n`, timeoutMs));
        failures = 0;
        return score;
      } catch (error) {
        if (error instanceof EvaluationRefusedError) throw error;
        why = (error as Error).message;
        say(`the scorer's program ${why}; it is started again`);
        await child.end();
        child = null;
      }
    }
    if (++failures >= MOST_FAILURES) throw new EvaluationRefusedError(`the scorer's program gave no score for ${failures} answers in a row; the last time it ${why}`);
    throw new ScorerFailedError(`the scorer's program ${why}`);
  };

  return {
    score(question) {
      const result = turn.then(() => judge(question)); // P1
      turn = result.catch(() => undefined);
      return result;
    },
    async close() {
      await turn;
      await child?.end(true);
      child = null;
    },
  };
}

interface Running {
  /** The next line of output. Rejects with what the program did instead, in words. */
  ask(line: string, timeoutMs: number): Promise<string>;
  end(gently?: boolean): Promise<void>;
}

function start(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): Running {
  const [program, ...rest] = argv;
  const child: ChildProcess = spawn(program!, rest, { env: environment as NodeJS.ProcessEnv, stdio: ["pipe", "pipe", "inherit"] }); // P3
  let held = "";
  let waiting: { done(line: string): void; failed(error: Error): void } | null = null;
  let over: Error | null = null;
  const failed = (error: Error): void => {
    over ??= error;
    waiting?.failed(over);
  };
  const gone = new Promise<void>((resolve) => child.once("close", (code, signal) => {
    failed(new Error(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`));
    resolve();
  }));
  child.once("error", (error: NodeJS.ErrnoException) => {
    failed(error.code === "ENOENT" || error.code === "EACCES" ? new EvaluationRefusedError(`The scorer's program ${program} cannot be started: ${error.code === "ENOENT" ? "it does not exist on this host" : "it may not be executed"}.`) : error);
  });
  child.stdin!.on("error", () => undefined); // its end says why
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    held += chunk;
    const end = held.indexOf("\n");
    if (end < 0) {
      if (held.length > MOST_LINE_BYTES) failed(new Error(`wrote a line longer than ${MOST_LINE_BYTES} bytes`));
      return;
    }
    if (waiting === null) return failed(new Error("wrote a line without being asked"));
    const line = held.slice(0, end);
    held = held.slice(end + 1);
    waiting.done(line);
  });
  return {
    ask: (line, timeoutMs) => new Promise((resolve, reject) => {
      if (over !== null) return reject(over);
      const timer = setTimeout(() => failed(new Error(`gave no score within ${timeoutMs / 1_000} s`)), timeoutMs);
      const settle = <T>(act: (value: T) => void) => (value: T): void => {
        clearTimeout(timer);
        waiting = null;
        act(value);
      };
      waiting = { done: settle(resolve), failed: settle(reject) };
      child.stdin!.write(line);
    }),
    async end(gently = false) {
      if (child.pid === undefined) return;
      child.stdin!.end();
      const kill = gently ? setTimeout(() => child.kill("SIGKILL"), CLOSE_MS) : null;
      if (!gently) child.kill("SIGKILL");
      await gone;
      if (kill !== null) clearTimeout(kill);
    },
  };
}

/** {score: number, extracted?: text, …numbers}. Throws Error saying what is wrong, in the past tense. */
export function readScore(line: string): Score {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error(`wrote ${JSON.stringify(line.slice(0, 200).toWellFormed())} where one JSON object was to be`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("wrote JSON that is no object");
  const { score, extracted, ...others } = value as Record<string, unknown>;
  const number = typeof score === "boolean" ? Number(score) : score;
  if (typeof number !== "number" || !Number.isFinite(number)) throw new Error(`wrote the score ${JSON.stringify(score) ?? "of no value"}, and it must be a number`);
  const figures = Object.entries(others).filter((entry): entry is [string, number] => typeof entry[1] === "number" && Number.isFinite(entry[1]) && entry[0] !== "" && entry[0].length <= 100).slice(0, MOST_FIGURES);
  return { score: number, extracted: typeof extracted === "string" ? shortened(extracted) : null, ...(figures.length === 0 ? {} : { figures: Object.fromEntries(figures) }) };
}
