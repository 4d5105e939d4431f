// The program of an evaluate stage without a program of its own. Its arguments are the path of the configuration and its number among the programs of the attempt; the rest is the protocol of command
// stages. Exit code 0 with outputs, or with what it wants before it can go on (wanted-program.ts); 143 after SIGTERM; otherwise 1, and the last line says why in the words of evaluation-errors.ts.

import { readConfigFile } from "./evaluate-config.js";
import { evaluate } from "./evaluation.js";
import { EvaluationGaveUpError, EvaluationRefusedError, GAVE_UP_LINE, ProgramFailedError, REFUSED_LINE } from "./evaluation-errors.js";
import { writeWanted } from "./wanted-program.js";

const stopped = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)));

function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new EvaluationRefusedError(`${name} is not set. This program is started by Trainyard's agent.`);
  return value;
}

function lineOf(error: unknown): string {
  if (error instanceof EvaluationRefusedError) return `${REFUSED_LINE}${oneLine(error.message)}`;
  if (error instanceof EvaluationGaveUpError) return `${GAVE_UP_LINE}${oneLine(error.message)}`;
  if (error instanceof ProgramFailedError || stopped.signal.aborted) return `evaluation ended: ${oneLine((error as Error).message)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The agent takes one line for the message. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ").slice(0, 1_800).toWellFormed();
}

try {
  const [file, phase] = process.argv.slice(-2) as [string, string];
  const outputDir = needed("TRAINYARD_OUTPUT_DIR");
  const wanted = await evaluate(readConfigFile(file), Number(phase) > 0, {
    environment: process.env, signal: stopped.signal, outputDir, metricsFile: needed("TRAINYARD_METRICS_FILE"), outputsFile: needed("TRAINYARD_OUTPUTS_FILE"),
    random: Math.random, say: (text) => void process.stdout.write(`${text}\n`),
  });
  if (wanted !== null) writeWanted(outputDir, Number(phase), wanted);
} catch (error) {
  process.stderr.write(`${lineOf(error)}\n`);
  process.exitCode = stopped.signal.aborted ? 143 : 1;
}
