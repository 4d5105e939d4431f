// What a host has, one line each, with what to do about whatever is not well.
import { findHost } from "../api/hosts.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "../api/results.js";
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { harmless } from "../render/text-width.js";
import type { Style } from "../style.js";

interface Line { readonly name: string; readonly found: string | null; readonly status: string; readonly fix: string | null }
interface Checked { readonly ok: boolean; readonly report: { readonly lines: readonly Line[]; readonly tookMs?: number; readonly error?: { readonly code: string; readonly message: string } } }

export async function run(cli: Cli, [text]: readonly string[]): Promise<ExitCode> {
  const host = await findHost(cli, text!);
  const { checkSshHost } = await cli.api().call<{ checkSshHost: Checked | DomainErrorAnswer }>(
    `mutation CheckHost($id: ID!) { checkSshHost(id: $id) { ... on SshCheckPayload { ok report } ${DOMAIN_ERROR.replace(/ \.\.\. on InvalidInputError .*/, "")} } }`, { id: host.id });
  const { ok, report } = payloadOf(checkSshHost) as Checked;
  const widest = Math.max(...report.lines.map(({ name }) => name.length), 0);
  cli.print({
    value: { name: host.name, ok, ...report },
    ids: () => [host.id],
    table: () => [
      ...report.lines.map((line) => `${mark(cli.style, line.status)} ${line.name.padEnd(widest)}  ${harmless(line.found ?? "no answer")}${line.fix === null ? "" : `\n  ${" ".repeat(widest)}  ${cli.style.dim(harmless(line.fix))}`}`),
      ...(report.error === undefined ? [] : [`${cli.style.red(report.error.code)}  ${harmless(report.error.message)}`]),
    ],
  });
  if (ok && report.tookMs !== undefined) cli.note(`${host.name} can run programs; looked at in ${(report.tookMs / 1_000).toFixed(1)} s.`);
  return ok ? EXIT.ok : EXIT.failure;
}

function mark(style: Style, status: string): string {
  return status === "OK" ? style.green("✓") : status === "PROBLEM" ? style.red("✗") : style.yellow("!");
}
