// The rows that an evaluation asked, page by page until the limit is met.
import { findEvaluation, PAGE, SAMPLE_FIELDS, SIMULATED_SCORES, type SampleAnswer } from "../api/evaluations.js";
import type { Cli } from "../cli.js";
import { describeSample } from "../render/evaluation-page.js";

interface Page { readonly simulated: boolean; readonly samples: { readonly edges: readonly { readonly node: SampleAnswer }[]; readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } } }

export async function run(cli: Cli, [id]: readonly string[], options: { readonly verdict?: string; readonly limit: number; readonly full?: boolean }): Promise<void> {
  const samples: SampleAnswer[] = [];
  let [after, more]: [string | null, boolean] = [null, true];
  let simulated = false;
  while (more && samples.length < options.limit) {
    const args = `first: ${Math.min(PAGE, options.limit - samples.length)}${after === null ? "" : `, after: ${JSON.stringify(after)}`}${options.verdict === undefined ? "" : `, verdict: ${options.verdict.toUpperCase()}`}`;
    const page: Page = await findEvaluation<Page>(cli, id!, `simulated samples(${args}) { edges { node { ${SAMPLE_FIELDS} } } pageInfo { hasNextPage endCursor } }`);
    simulated = page.simulated;
    samples.push(...page.samples.edges.map(({ node }) => node));
    [after, more] = [page.samples.pageInfo.endCursor, page.samples.pageInfo.hasNextPage];
  }
  cli.print({ value: simulated ? samples.map((sample) => ({ ...sample, simulated })) : samples, table: () => samples.flatMap((sample, index) => [...(index === 0 ? [] : [""]), ...describeSample(sample, cli.style, options.full === true)]), ids: () => samples.map(({ key }) => key) });
  if (simulated && samples.length > 0) cli.note(`The evaluation is ${SIMULATED_SCORES}.`);
  if (cli.format !== "table") return;
  if (samples.length === 0) cli.note(options.verdict === undefined ? "This evaluation told no rows." : `No rows that are ${options.verdict}.`);
  else if (more) cli.note(`There are more; --limit shows more of them.`);
}
