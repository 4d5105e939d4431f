// The program of an evaluate stage without a program of its own. Its one argument is the path of the configuration; the rest is the protocol of command stages.
// Exit code 0 with outputs; 143 after SIGTERM; otherwise 1, and the last line says why in the words of evaluation-errors.ts.

import { readConfigFile } from "./evaluate-config.js";
import { evaluate } from "./evaluation.js";
import { ChildFailedError, EvaluationGaveUpError, EvaluationLacksModuleError, EvaluationRefusedError, GAVE_UP_LINE, LACKS_MODULE_LINE, REFUSED_LINE } from "./evaluation-errors.js";

const stopped = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)));

function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new EvaluationRefusedError(`${name} is not set. This program is started by Trainyard's agent.`);
  return value;
}

function lineOf(error: unknown): string {
  if (error instanceof EvaluationRefusedError) return `${REFUSED_LINE}${oneLine(error.message)}`;
  if (error instanceof EvaluationLacksModuleError) return `${LACKS_MODULE_LINE}${oneLine(error.message)}`;
  if (error instanceof EvaluationGaveUpError) return `${GAVE_UP_LINE}${oneLine(error.message)}`;
  if (error instanceof ChildFailedError || stopped.signal.aborted) return `evaluation ended: ${oneLine((error as Error).message)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The agent takes one line for the message. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ").slice(0, 1_800).toWellFormed();
}

try {
  await evaluate(readConfigFile(process.argv.at(-1)!), {
    environment: process.env, signal: stopped.signal, outputDir: needed("TRAINYARD_OUTPUT_DIR"), metricsFile: needed("TRAINYARD_METRICS_FILE"), outputsFile: needed("TRAINYARD_OUTPUTS_FILE"),
    random: Math.random, say: (text) => void process.stdout.write(`${text}\n`),
  });
} catch (error) {
  process.stderr.write(`${lineOf(error)}\n`);
  process.exitCode = stopped.signal.aborted ? 143 : 1;
}
