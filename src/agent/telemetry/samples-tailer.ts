// Reports what an evaluation appends to its file of samples (src/evaluation/samples-file.ts): one line per row that was asked.
//   S1. How far the file is reported is recorded with the reports: an agent that takes over goes on behind it.
//   S2. A line without its end waits for it; the program appends whole lines, so at its end only a torn one is left, which counts for nothing.

import { parsedSample, type Sample } from "../../evaluation/samples-file.js";
import type { SamplesSource } from "../journal/records.js";
import type { Follower } from "../attempt/program-role.js";
import { readFrom } from "./file-reader.js";
import type { Publisher } from "./publisher.js";
import type { Redactor } from "./redactor.js";
import { sampleReports, type FoundSample } from "./sample-reports.js";

/** Bytes read between two records of how far we are. */
const STEP_BYTES = 1_048_576;
/** Longer lines are left out: their texts would be cut to a fraction anyway. */
const LONGEST_LINE = 64 * 1_048_576;

export interface SamplesTailerOptions {
  readonly file: string;
  readonly redactor: Redactor;
  readonly source: SamplesSource | null;
  readonly publisher: Publisher;
  /** Says something in the attempt's log. */
  notice(text: string): void;
}

export function createSamplesTailer({ file, redactor, source, publisher, notice }: SamplesTailerOptions): Follower {
  let offset = source?.offset ?? 0;
  let givenUp = false;

  /** Reports the samples of whole lines and that `bytes` are done with. */
  const report = async (text: string, bytes: number): Promise<void> => {
    const samples = text.split("\n").flatMap((line) => {
      const sample = line === "" ? null : parsedSample(line);
      return sample === null ? [] : [shownSample(sample)];
    });
    offset += bytes;
    const reports = sampleReports(samples, redactor);
    for (const [index, one] of reports.entries()) {
      givenUp ||= !(await publisher.publish([one], index === reports.length - 1 ? { samples: { offset } } : {})); // S1
      if (givenUp) return;
    }
  };
  const readAll = async (): Promise<void> => {
    for (let want = STEP_BYTES; !givenUp;) {
      const read = readFrom(file, offset, want);
      if (read === null || read.bytes.length === 0) return;
      const end = read.bytes.lastIndexOf(10) + 1;
      if (end > 0) {
        await report(read.bytes.toString("utf8", 0, end), end);
        want = STEP_BYTES;
      } else if (offset + read.bytes.length >= read.size) return; // S2
      else if (want < LONGEST_LINE) want *= 2;
      else {
        notice(`a sample of more than ${LONGEST_LINE} bytes is not shown with the evaluation.`);
        offset += read.bytes.length;
      }
    }
  };
  return { advance: readAll, finish: readAll };
}

/** A row as people read it: its messages, and its answers one below the other. */
export function shownSample({ id, prompt, groundTruth, responses, scores, score, error }: Sample): FoundSample {
  const [only] = prompt;
  return {
    source: "evaluation", step: null, key: id, truth: groundTruth === "" ? null : groundTruth, score, error: error === undefined ? null : `${error.code}: ${error.message}`,
    prompt: prompt.length === 1 && only!.role === "user" ? only!.content : prompt.map(({ role, content }) => `[${role}]\n${content}`).join("\n\n"),
    output: responses.length <= 1 ? (responses[0] ?? "") : responses.map((response, index) => `[answer ${index + 1} of ${responses.length}${scores[index] === undefined ? "" : `, score ${scores[index]}`}]\n${response}`).join("\n\n"),
  };
}
