// What was piped in.
import type { Cli } from "../cli.js";

/** All of standard input as text. */
export async function readStdin(cli: Pick<Cli, "stdin">): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of cli.stdin) parts.push(Buffer.from(part as Buffer | string));
  return Buffer.concat(parts).toString("utf8");
}
