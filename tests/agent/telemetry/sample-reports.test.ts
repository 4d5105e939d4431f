import { expect, test } from "vitest";
import { createRedactor } from "../../../src/agent/telemetry/redactor.js";
import { sampleReports, type FoundSample } from "../../../src/agent/telemetry/sample-reports.js";
import { LIMITS, reportSchema, SAMPLE_LIMITS } from "../../../src/protocol/messages.js";

const found = (more: Partial<FoundSample> = {}): FoundSample => ({ source: "evaluation", step: null, key: "k", prompt: "p", output: "o", truth: "t", score: 1, error: null, ...more });
const wire = (samples: readonly FoundSample[], secrets: readonly string[] = []) => sampleReports(samples, createRedactor(secrets));

test("reports hold all samples in order, and each is one that the control plane takes", () => {
  const samples = Array.from({ length: 1_234 }, (_, index) => found({ key: `k${index}`, output: "€".repeat(index % 3_000) }));
  const reports = wire(samples);
  expect(reports.flatMap((report) => report.samples.map(({ key }) => key))).toEqual(samples.map(({ key }) => key));
  for (const report of reports) {
    expect(reportSchema.safeParse({ n: 1, attemptId: "att_1", fence: 1, at: 1, ...report }).success).toBe(true);
    expect(Buffer.byteLength(JSON.stringify(report.samples))).toBeLessThanOrEqual(LIMITS.samplesReportBytes + 2 + report.samples.length);
  }
  expect(wire([])).toEqual([]);
});

test("texts that are too long are cut in their middle and say so; scores that are no numbers travel as words", () => {
  const [report] = wire([found({ prompt: "p".repeat(9_000), output: `${"o".repeat(20_000)} #### 42`, truth: "t".repeat(5_000), error: "e".repeat(3_000), score: NaN, key: "k".repeat(300) }), found({ score: -Infinity, truth: null })]);
  const [long, other] = report!.samples;
  for (const name of ["prompt", "output", "truth", "error", "key"] as const) {
    expect(long![name]!.length).toBeLessThanOrEqual(SAMPLE_LIMITS[name]);
    expect(long![name]!.length).toBeGreaterThanOrEqual(SAMPLE_LIMITS[name] - 1); // the count of what is missing may need one digit less than was kept free
  }
  expect(long!.output).toMatch(/^o+\n\[… \d+ characters left out …\]\no+ #### 42$/);
  expect([long!.score, other!.score, other!.truth]).toEqual(["NaN", "-Infinity", null]);
});

test("no secret leaves, also where the cut would go through it", () => {
  const secret = "s3cret-value-0123456789";
  const prompt = `${"p".repeat(SAMPLE_LIMITS.prompt / 2 - 40)}${secret}${"q".repeat(SAMPLE_LIMITS.prompt)}`;
  const text = JSON.stringify(wire([found({ key: secret, prompt, output: secret, truth: secret, error: `failed: ${secret}` })], [secret]));
  expect(text).toContain("[redacted]");
  for (let length = 6; length <= secret.length; length++) expect(text).not.toContain(secret.slice(0, length));
});
