// Invariant 15: telemetry has no gap that is not declared, neither in storage nor for those who read it live.

import type { AttemptFiles, Evidence } from "./checker-evidence.js";
import { groupBy } from "./checker-groups.js";

export function telemetryIsWhole({ files, stages, events, logs, logEnds, points }: Evidence): string[] {
  const found: string[] = [];
  const idOf = new Map(stages.map((stage) => [`${stage.pipelineId}/${stage.name}`, stage.id]));
  const lostOnes = new Set(events.filter((event) => event.type === "AttemptLost").map((event) => `${event.pipelineId}/${event.stage ?? ""} ${String(event.payload["number"])}`));
  const chunksOf = groupBy(logs, (chunk) => chunk.stageId);
  for (const [stageId, chunks] of chunksOf) {
    let end = 0;
    for (const chunk of chunks) {
      if (chunk.fromByte !== end + chunk.skippedBytes || chunk.toByte - chunk.fromByte !== chunk.bytes) found.push(`the log of ${stageId} has an undeclared gap or overlap at byte ${end}: the next chunk is [${chunk.fromByte}, ${chunk.toByte}) with ${chunk.bytes} bytes and ${chunk.skippedBytes} declared as left out`);
      end = chunk.toByte;
    }
    const stored = logEnds.find((row) => row.stageId === stageId)?.length;
    if (stored !== end) found.push(`the log of ${stageId} ends at ${stored ?? "nowhere"}, its chunks at ${end}`);
  }
  for (const file of files) {
    const name = `${file.pipelineId}/${file.stage} ${file.attempt}`;
    const stageId = idOf.get(`${file.pipelineId}/${file.stage}`)!;
    const lost = lostOnes.has(name);
    const stored = (chunksOf.get(stageId) ?? []).filter((chunk) => chunk.attempt === file.attempt);
    const text = stored.map((chunk) => chunk.text).join("");
    const declared = stored.some((chunk) => chunk.skippedBytes > 0);
    if (!declared && (lost ? !file.log.startsWith(text) : file.log !== text)) found.push(`the log of ${name} differs from what its program wrote: ${firstDifference(text, file.log)}`);
    found.push(...pointsDiffer(name, file, lost, points.filter((point) => point.stageId === stageId && point.attempt === file.attempt)));
  }
  return found;
}

/** What is in storage and was not told must have been declared: points as dropped, bytes as skipped. */
export function readersMissNothingUndeclared({ followed, logs, logEnds, points }: Evidence): string[] {
  const found: string[] = [];
  for (const { stageId, points: told, dropped, chunks } of followed) {
    const stored = points.filter((point) => point.stageId === stageId);
    const attempts = new Set(stored.map((point) => point.attempt)); // points of several attempts replace each other in the reader's view: then only the log is compared
    const values = new Map(told.map((point) => [`${point.name} ${point.step}`, point.value ?? Number(point.nonFinite)]));
    if (attempts.size <= 1) {
      const missing = stored.filter((point) => !values.has(`${point.name} ${point.step}`));
      const last = Math.max(-1, ...told.map((point) => point.step));
      const passed = missing.filter((point) => point.step <= last);
      if (passed.length > dropped) found.push(`a reader of ${stageId} stands at step ${last} and ${passed.length} points before that were neither told nor declared (${dropped} dropped), the first ${passed[0]!.name} at step ${passed[0]!.step}`);
      else if (missing.length > dropped) found.push(`a reader of ${stageId} was not yet told ${missing.length} points`);
      for (const point of stored) if (values.has(`${point.name} ${point.step}`) && !Object.is(values.get(`${point.name} ${point.step}`), point.value)) found.push(`a reader of ${stageId} was told another value of ${point.name} at step ${point.step} than ${point.value}`);
      if (values.size > stored.length) found.push(`a reader of ${stageId} was told ${values.size} points, ${stored.length} are stored`);
    }
    let end = 0;
    for (const chunk of chunks) {
      if (chunk.fromByte - chunk.skippedBytes !== end) found.push(`a reader of the log of ${stageId} stood at byte ${end} and was told [${chunk.fromByte}, ${chunk.toByte}) with ${chunk.skippedBytes} bytes declared as left out`);
      if (Buffer.byteLength(chunk.text) !== chunk.toByte - chunk.fromByte) found.push(`a reader of the log of ${stageId} was told ${Buffer.byteLength(chunk.text)} bytes as [${chunk.fromByte}, ${chunk.toByte})`);
      end = chunk.toByte;
    }
    const length = logEnds.find((row) => row.stageId === stageId)?.length ?? 0;
    if (end < length) found.push(`a reader of ${stageId} was not yet told the log beyond byte ${end} of ${length}`);
    const text = logs.filter((chunk) => chunk.stageId === stageId).map((chunk) => chunk.text).join("");
    const heard = chunks.map((chunk) => chunk.text).join("");
    if (!text.startsWith(heard) || end > length) found.push(`a reader of the log of ${stageId} was told something else than is stored: ${firstDifference(text, heard)}`);
  }
  return found;
}

function pointsDiffer(name: string, file: AttemptFiles, lost: boolean, stored: readonly Evidence["points"][number][]): string[] {
  const written = new Map(file.metrics.flatMap(({ step, data }) => Object.entries(data).map(([metric, value]) => [`${metric} ${step}`, value] as const)));
  const found = stored.filter((point) => written.get(`${point.name} ${point.step}`) !== point.value).map((point) => `${name}: the point ${point.name} at step ${point.step} is ${point.value}, its program wrote ${String(written.get(`${point.name} ${point.step}`))}`);
  if (!lost && stored.length < written.size) found.push(`${name}: ${written.size} points were written, ${stored.length} are stored`);
  return found.slice(0, 3);
}

function firstDifference(stored: string, written: string): string {
  const at = Array.from({ length: Math.max(stored.length, written.length) }).findIndex((_, index) => stored[index] !== written[index]);
  return `${stored.length} characters are stored, ${written.length} were written; at ${at} ${JSON.stringify(stored.slice(at, at + 60))} instead of ${JSON.stringify(written.slice(at, at + 60))}`;
}
