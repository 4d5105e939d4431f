import type { Json } from "../../domain/pipeline/state.js";
import { findDataset, refOf } from "../api/datasets.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { describeRow, GLANCE, WHOLE } from "../render/data-rows.js";
import { count } from "../render/quantities.js";

/** Largest page that the API gives. */
const PAGE = 100;

interface PreviewOptions { readonly from: number; readonly rows: number; readonly full?: boolean }
interface Page { readonly id: string; readonly name: string; readonly version: number; readonly rows: number; readonly page: { readonly rows: readonly Json[]; readonly from: number; readonly source: "FILE" | "SAMPLE"; readonly note: string | null } }

export async function run(cli: Cli, [text]: readonly string[], options: PreviewOptions): Promise<void> {
  const rows: Json[] = [];
  const print = (from: number, page: readonly Json[]) => {
    if (cli.quiet || cli.format !== "table") rows.push(...page);
    else for (const [index, row] of page.entries()) for (const line of describeRow(from + index, row, cli.style, options.full === true ? WHOLE : GLANCE)) cli.line(line);
  };
  let asked = text!;
  let last: Page | null = null;
  for (let shown = 0; shown < options.rows; ) {
    const from = options.from + shown;
    last = await findDataset<Page>(cli, asked, `id name version rows page(first: ${Math.min(PAGE, options.rows - shown)}, from: ${from}) { rows from source note }`);
    asked = last.id; // a newer version must not come in between two pages
    const { page } = last;
    print(from, page.rows);
    shown += page.rows.length;
    if (page.rows.length === 0 || page.source === "SAMPLE" || from + page.rows.length >= last.rows) break;
  }
  if (last === null) return;
  const { page, rows: total } = last;
  if (page.note !== null && page.rows.length === 0) throw new CliError(EXIT.failure, page.note, { hint: `Where it lies: ${cli.command(`data show ${refOf(last)}`)}` });
  if (cli.quiet || cli.format !== "table") cli.print({ value: rows, table: () => [], ids: () => rows.map((row) => JSON.stringify(row)) });
  if (page.note !== null) cli.note(cli.noteStyle.yellow(page.note));
  if (cli.format !== "table") return;
  const end = page.from + page.rows.length;
  if (options.from >= total) cli.note(`${refOf(last)} has ${count(total)} rows, numbered from 0.`);
  else if (end < total && page.source === "FILE") cli.note(`${count(end)} of ${count(total)} rows. Go on: ${cli.command(`data preview ${refOf(last)} --from ${end} --rows ${options.rows}`)}`);
}
