// A preprocess stage in a process of its own, as the agent runs it: in a worker thread. Prints one JSON line: rows kept, CPU seconds, peak memory.
//   node preprocess-process.js INPUT.jsonl OUTPUT_FOLDER MAX_CHARS

import { readFileSync } from "node:fs";
import { startPreprocess } from "../../src/data/preprocess-thread.js";
import { inputsOf, preprocessParamsSchema } from "../../src/domain/data/preprocess-params.js";

const [input, outputDir, maxChars] = process.argv.slice(2) as [string, string, string];
const params = preprocessParamsSchema.parse({ input, task: "rl", dataSource: "openai/gsm8k", filter: { maxChars: Number(maxChars) }, dedupe: "exact", split: { validation: 0.02 } });
const result = await startPreprocess({ params, inputs: [{ path: input, name: "bench.jsonl", spec: inputsOf(params)[0]!, format: "jsonl", gzip: false }], tokenizer: null, outputDir, datasetName: "bench" }).done;

const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
console.log(JSON.stringify({ train: result.trainRows, validation: result.validationRows, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakMb: peakMb() ?? maxRSS / 1_024 }));

/** On Linux what this program itself had at most: maxRSS counts what the starting process had. */
function peakMb(): number | null {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1_024;
  } catch {
    return null;
  }
}
