// A program that lets its secrets slip wherever a program can: its output in every usual form and in pieces, metrics, checkpoints, outputs, and the words with which it fails. With "malformed" as its argument it leaves outputs that cannot
// be read; otherwise it fails the first time and completes the second.
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const { PLAIN, KNOTTY, TRAINYARD_METRICS_FILE: metrics, TRAINYARD_OUTPUTS_FILE: outputs, TRAINYARD_OUTPUT_DIR: folder, TRAINYARD_ATTEMPT: attempt } = process.env;
const forms = (secret) => [secret, Buffer.from(secret).toString("base64"), Buffer.from(`user:${secret}`).toString("base64"), encodeURIComponent(secret), JSON.stringify(secret), Buffer.from(secret).toString("hex")];
const ascii = (value) => JSON.stringify(value).replace(/[^\x00-\x7f]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`); // as Python writes JSON

for (let step = 1; step <= 25; step++) {
  for (const secret of [PLAIN, KNOTTY]) {
    for (const form of forms(secret)) process.stdout.write(`step ${step}: curl -H 'Authorization: Bearer ${form}' https://host/?key=${form}\n`);
    const [head, tail] = [secret.slice(0, step % secret.length), secret.slice(step % secret.length)];
    process.stdout.write(`in two pieces: ${head}`);
    await delay(30);
    process.stdout.write(`${tail}\n`);
    process.stderr.write(`warning: ${secret}\r`);
  }
  appendFileSync(metrics, `${ascii({ step, data: { loss: 1 / step, [`score of ${PLAIN}`]: step, [`k ${KNOTTY}`]: 1 } })}\n`);
}
mkdirSync(join(folder, `step-25-${PLAIN}`));
writeFileSync(join(folder, `step-25-${PLAIN}`, "weights"), "0");
appendFileSync(metrics, `${ascii({ step: 25, data: {}, checkpoint: `step-25-${PLAIN}` })}\n`);
appendFileSync(metrics, `${ascii({ step: 26, data: { loss: `not a number: ${KNOTTY}` } })}\n${ascii({ step: 26, data: {}, checkpoint: `missing-${PLAIN}` })}\n{"step": 27, ${KNOTTY}\n`);
if (process.argv[2] !== "malformed" && attempt === "1") {
  console.error(`Traceback: the key ${PLAIN} (${KNOTTY}) was refused`);
  process.exit(3);
}
if (process.argv[2] === "malformed") {
  writeFileSync(outputs, `{"broken": "${PLAIN}`);
  process.exit(0);
}
writeFileSync(outputs, ascii({ echo: PLAIN, nested: [{ url: `https://x:${encodeURIComponent(KNOTTY)}@host/`, [KNOTTY]: true }] }));
