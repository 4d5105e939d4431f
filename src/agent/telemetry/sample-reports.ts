// Makes samples ready to be reported: without secrets, within the bounds of the protocol, in reports that are not too large.
//   S1. Secrets are taken out before texts are cut: half a secret would not be known.

import { cutText, type SampleContent, type SampleSource } from "../../domain/samples.js";
import { LIMITS, SAMPLE_LIMITS, type WireSample } from "../../protocol/messages.js";
import type { Telemetry } from "./publisher.js";
import type { Redactor } from "./redactor.js";

/** A sample as a program left it. */
export interface FoundSample extends SampleContent {
  readonly source: SampleSource;
  readonly step: number | null;
}

type SamplesReport = Extract<Telemetry, { type: "samples" }>;

/** The reports that tell of these samples, in their order. */
export function sampleReports(samples: Iterable<FoundSample>, redactor: Redactor): SamplesReport[] {
  const reports: { type: "samples"; samples: WireSample[] }[] = [];
  let bytes = Infinity;
  for (const found of samples) {
    const sample = wireSample(found, redactor);
    const own = Buffer.byteLength(JSON.stringify(sample));
    if (bytes + own > LIMITS.samplesReportBytes || reports.at(-1)!.samples.length >= LIMITS.samplesPerReport) {
      reports.push({ type: "samples", samples: [] });
      bytes = 0;
    }
    reports.at(-1)!.samples.push(sample);
    bytes += own;
  }
  return reports;
}

function wireSample({ source, step, key, prompt, output, truth, score, error }: FoundSample, redactor: Redactor): WireSample {
  const shown = (text: string, limit: number) => cutText(redactor.redact(text), limit).toWellFormed(); // S1
  return {
    source, step, key: redactor.redact(key).slice(0, SAMPLE_LIMITS.key).toWellFormed(), prompt: shown(prompt, SAMPLE_LIMITS.prompt), output: shown(output, SAMPLE_LIMITS.output),
    truth: truth === null ? null : shown(truth, SAMPLE_LIMITS.truth), score: score === null || Number.isFinite(score) ? score : (String(score) as "NaN" | "Infinity" | "-Infinity"),
    error: error === null ? null : shown(error, SAMPLE_LIMITS.error),
  };
}
