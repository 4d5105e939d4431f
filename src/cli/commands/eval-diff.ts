// What changed between two evaluations, row by row.
import { SAMPLE_FIELDS, type SampleAnswer } from "../api/evaluations.js";
import type { Cli } from "../cli.js";
import { describeSample, intervalText, number, probability } from "../render/evaluation-page.js";
import { count } from "../render/quantities.js";

interface Changes { readonly edges: readonly { readonly node: { readonly key: string; readonly from: SampleAnswer | null; readonly to: SampleAnswer | null } }[] }
interface Diff {
  readonly simulated: boolean;
  readonly compared: number; readonly fixedCount: number; readonly brokenCount: number; readonly unchangedCount: number; readonly onlyInFrom: number; readonly onlyInTo: number; readonly leftOut: number;
  readonly fromMean: number | null; readonly toMean: number | null; readonly difference: number | null; readonly low: number | null; readonly high: number | null; readonly pValue: number; readonly test: string;
  readonly fixed: Changes; readonly broken: Changes;
}

export async function run(cli: Cli, [from, to]: readonly string[], options: { readonly rows: number; readonly full?: boolean }): Promise<void> {
  const changes = (name: string) => `${name}: changes(change: ${name.toUpperCase()}, first: $rows) { edges { node { key from { ${SAMPLE_FIELDS} } to { ${SAMPLE_FIELDS} } } } }`;
  const { compareEvaluations: diff } = await cli.api().call<{ compareEvaluations: Diff }>(`query Compare($from: ID!, $to: ID!, $rows: Int!) { compareEvaluations(from: $from, to: $to) {
    simulated compared fixedCount brokenCount unchangedCount onlyInFrom onlyInTo leftOut fromMean toMean difference low high pValue test ${changes("fixed")} ${changes("broken")} } }`, { from: from!, to: to!, rows: Math.max(1, options.rows) });
  const list = (found: Changes) => found.edges.slice(0, options.rows).map(({ node }) => node);
  const [fixed, broken] = [list(diff.fixed), list(diff.broken)];
  cli.print({ value: { from, to, ...diff, fixed, broken }, ids: () => [...fixed, ...broken].map(({ key }) => key), table: () => describe(cli, diff, { fixed, broken }, options.full === true) });
}

function describe(cli: Cli, diff: Diff, { fixed, broken }: Record<"fixed" | "broken", readonly { readonly to: SampleAnswer | null }[]>, whole: boolean): string[] {
  const { style } = cli;
  const lines = [
    `${count(diff.compared)} rows scored by both${diff.onlyInFrom + diff.onlyInTo === 0 ? "" : `; ${count(diff.onlyInFrom)} by the first alone, ${count(diff.onlyInTo)} by the second alone`}${diff.leftOut === 0 ? "" : `; ${count(diff.leftOut)} were not stored for lack of room`}`,
    ...(diff.simulated ? [style.yellow("simulated: the answers of at least one of the two are made up, or its model is; the difference says nothing")] : []),
  ];
  if (diff.compared === 0) return lines;
  const interval = intervalText(diff);
  lines.push(
    `${style.green(`${count(diff.fixedCount)} fixed`)}, ${style.red(`${count(diff.brokenCount)} broken`)}, ${count(diff.unchangedCount)} unchanged`,
    `score ${number(diff.fromMean!)} to ${number(diff.toMean!)}, a difference of ${diff.difference! > 0 ? "+" : ""}${number(diff.difference!)}${interval === "" ? "" : `, 95 % between ${interval}`}`,
    diff.fixedCount + diff.brokenCount === 0 ? "Nothing changed." : `Chance alone would bring changes as uneven as these with probability ${probability(diff.pValue)} (${diff.test === "mcnemar" ? "McNemar's exact test" : "sign test"}).`,
  );
  for (const [title, rows, total] of [["Fixed", fixed, diff.fixedCount], ["Broken", broken, diff.brokenCount]] as const) {
    if (rows.length === 0) continue;
    lines.push("", style.bold(`${title}${rows.length < total ? ` (${count(rows.length)} of ${count(total)}, as the second answered)` : " (as the second answered)"}`), ...rows.flatMap(({ to }) => (to === null ? [] : describeSample(to, style, whole))));
  }
  return lines;
}
