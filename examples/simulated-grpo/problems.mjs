// Writes 600 sums in the form of GSM8K, one a line, and names the file as this stage's output. A command stage: see docs/pipeline.md.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const { TRAINYARD_OUTPUT_DIR: folder, TRAINYARD_OUTPUTS_FILE: outputs } = process.env;
const file = join(folder, "problems.jsonl");
const lines = Array.from({ length: 600 }, (_, i) => {
  const [a, b] = [i + 3, ((i * 7) % 90) + 2];
  return JSON.stringify({ question: `A shop has ${a} apples and gets ${b} more. How many apples are there?`, answer: `${a} + ${b} = ${a + b}.\n#### ${a + b}` });
});
writeFileSync(file, `${lines.join("\n")}\n`);
writeFileSync(outputs, JSON.stringify({ file, rows: lines.length }));
console.log(`${lines.length} problems in ${file}`);
