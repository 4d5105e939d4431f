// Brings the files of a checkpoint here, from wherever they lie. Cut off, the same command goes on where it was.
import { relative, resolve } from "node:path";
import { fetchCheckpointFiles, listCheckpointFiles } from "../api/checkpoint-files.js";
import type { Cli } from "../cli.js";
import { CliError } from "../exit-codes.js";
import { bytes, count } from "../render/quantities.js";
import { showTransfer, showWaiting } from "../render/transfer.js";
import { harmless } from "../render/text-width.js";

export async function run(cli: Cli, [id]: readonly string[], options: { readonly to?: string }): Promise<void> {
  const folder = resolve(cli.workingDirectory, options.to ?? id!);
  const endWaiting = showWaiting(cli, "looking at its files");
  const listing = await listCheckpointFiles(cli, id!).finally(endWaiting);
  const sizeBytes = listing.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const transfer = showTransfer(cli, `${listing.host}: ${listing.files.length === 1 ? "1 file" : `${count(listing.files.length)} files`}`, sizeBytes);
  let fetchedBytes: number;
  try {
    ({ fetchedBytes } = await fetchCheckpointFiles(cli, listing, folder, transfer.moved));
  } catch (error) {
    if (!(error instanceof CliError) || error.hint !== null) throw error;
    throw new CliError(error.exitCode, error.message, { hint: `What came stays in ${folder}; the same command goes on from there.`, cause: error });
  } finally {
    transfer.end();
  }
  const shown = relative(cli.workingDirectory, folder);
  cli.print({
    value: { id: listing.id, host: listing.host, path: listing.path, to: folder, files: listing.files.length, sizeBytes, fetchedBytes, skipped: listing.skipped },
    ids: () => [folder],
    table: () => [`${count(listing.files.length)} files, ${bytes(sizeBytes)}, in ${harmless(shown === "" ? "." : shown)}${fetchedBytes === sizeBytes ? "" : ` (${bytes(fetchedBytes)} fetched now)`}; sha256 equal to that on ${harmless(listing.host)}`],
  });
  if (listing.skipped.length > 0) cli.note(`Left out, since they are no regular files: ${listing.skipped.slice(0, 10).map(({ path, kind }) => `${harmless(path)} (${kind})`).join(", ")}${listing.skipped.length > 10 ? " …" : ""}`);
}
