import { findJob } from "../api/jobs.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { count, metricValue } from "../render/quantities.js";
import { harmless } from "../render/text-width.js";

interface SampleAnswer {
  readonly source: string; readonly step: number | null; readonly attempt: number; readonly key: string; readonly prompt: string; readonly output: string; readonly truth: string | null;
  readonly score: number | null; readonly nonFinite: string | null; readonly error: string | null; readonly verdict: string;
}
interface Found { readonly id: string; readonly simulated: boolean; readonly samples: { readonly edges: readonly { readonly node: SampleAnswer }[]; readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } } }
interface SampleOptions { readonly limit: number; readonly step?: number; readonly source?: string; readonly verdict?: string; readonly full?: boolean }

/** Largest page that the API gives. */
const PAGE = 100;
/** Characters shown of a text. */
const SHOWN = 600;
const SOURCES = ["TRAIN", "VALIDATION"];
const VERDICTS = ["CORRECT", "WRONG", "ERROR", "UNSCORED"];

export async function run(cli: Cli, [target, stage]: readonly string[], options: SampleOptions): Promise<void> {
  const source = options.source === undefined ? null : known(options.source, SOURCES, "source"), verdict = options.verdict === undefined ? null : known(options.verdict, VERDICTS, "verdict");
  const filter = `${source === null ? "" : `, source: ${source}`}${verdict === null ? "" : `, verdict: ${verdict}`}${options.step === undefined ? "" : `, step: ${options.step}`}`;
  const { id, simulated } = await findJob<{ id: string; simulated: boolean }>(cli, target!, stage, "id simulated");
  const samples: SampleAnswer[] = [];
  for (let after: string | null = null; samples.length < options.limit; ) {
    const page: Found = await findJob<Found>(cli, id, undefined,
      `id simulated samples(first: ${Math.min(PAGE, options.limit - samples.length)}${after === null ? "" : `, after: ${JSON.stringify(after)}`}${filter}) { edges { node { source step attempt key prompt output truth score nonFinite error verdict } } pageInfo { hasNextPage endCursor } }`);
    samples.push(...page.samples.edges.map(({ node }) => node));
    if (!page.samples.pageInfo.hasNextPage) break;
    after = page.samples.pageInfo.endCursor;
  }
  cli.print({ value: samples, ids: () => samples.map(({ key }) => key), table: () => samples.flatMap((sample, index) => [...(index === 0 ? [] : [""]), ...describe(cli, sample, options.full === true)]) });
  if (cli.format !== "table") return;
  if (simulated && samples.length > 0) cli.note("The run is simulated: these samples are made up.");
  if (samples.length === 0) cli.note(`No samples${filter === "" ? "" : " like that"}. They come from reinforcement learning with samples: true.`);
}

function describe({ style }: Cli, { source, step, key, prompt, output, truth, score, nonFinite, error, verdict }: SampleAnswer, full: boolean): string[] {
  const colour = verdict === "CORRECT" ? style.green : verdict === "UNSCORED" ? style.dim : style.red;
  const text = (title: string, value: string | null) => (value === null ? [] : [style.dim(title), ...shortened(value, full).split("\n").map((line) => `  ${harmless(line)}`)]);
  const scored = score === null && nonFinite === null ? "" : `, score ${metricValue(score, nonFinite)}`;
  return [
    `${style.bold(`${source.toLowerCase()}${step === null ? "" : ` step ${count(step)}`}`)}  ${style.dim(harmless(key))}  ${colour(verdict.toLowerCase())}${scored}${error === null ? "" : `  ${style.red(harmless(error))}`}`,
    ...text("prompt", prompt), ...text("answer", output), ...text("truth", truth),
  ];
}

function shortened(text: string, full: boolean): string {
  return full || text.length <= SHOWN ? text : `${text.slice(0, SHOWN).toWellFormed()}… (${count(text.length - SHOWN)} more characters; --full)`;
}

function known(given: string, all: readonly string[], what: string): string {
  const text = given.toUpperCase();
  if (all.includes(text)) return text;
  throw new CliError(EXIT.usage, `There is no ${what} ${given}.`, { hint: `There are: ${all.join(", ").toLowerCase()}` });
}
