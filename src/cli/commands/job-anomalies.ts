import { ANOMALY_FIELDS, findJob, type AnomalyAnswer } from "../api/jobs.js";
import type { Cli } from "../cli.js";
import { anomalyLine } from "../render/anomaly-lines.js";
import { harmless } from "../render/text-width.js";

interface Found { readonly id: string; readonly simulated: boolean; readonly stage: { readonly name: string }; readonly anomalies: readonly AnomalyAnswer[] }

export async function run(cli: Cli, [target, stage]: readonly string[]): Promise<void> {
  const job = await findJob<Found>(cli, target!, stage, `id simulated stage { name } anomalies { ${ANOMALY_FIELDS} }`);
  cli.print({
    value: job.anomalies,
    ids: () => job.anomalies.map(({ id }) => id),
    table: () => job.anomalies.flatMap((anomaly) => [
      `${cli.style.dim(`${anomaly.createdAt.slice(0, 19).replace("T", " ")}  try ${anomaly.attempt}`)}  ${anomalyLine(anomaly, cli.style)}`, `  ${harmless(anomaly.suggestion)}`, cli.style.dim(`  ${harmless(anomaly.reason)}`),
    ]),
  });
  if (cli.format !== "table") return;
  if (job.simulated) cli.note("The run is simulated: nothing is trained.");
  if (job.anomalies.length === 0) cli.note(`Nothing was found wrong with ${job.stage.name}.`);
}
