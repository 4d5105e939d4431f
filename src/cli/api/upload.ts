// Sends a file to the server over HTTP, and looks at what is sent while it is read.
//   P1. The file is read once. Its sha256 is computed on the way and compared with the one the server found: what was registered is what stood on this disk.
//   P2. Nothing is sent before the server has agreed (100 Continue), or has said nothing for a second: a refusal costs no transfer.
//   P3. Exactly as many bytes are sent as were announced; a file that becomes shorter meanwhile is no upload.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { request as requestHttp, type ClientRequest, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import type { Cli } from "../cli.js";
import { CliError, EXIT, UnreachableError, type ExitCode } from "../exit-codes.js";
import { reasonOf, refusedToken, unreachableHint } from "./client.js";

export interface SentUpload { readonly id: string; readonly sizeBytes: number; /** sha256, hex. */ readonly contentHash: string }

const PIECE_BYTES = 256 * 1_024;
const AGREEMENT_MS = 1_000;
/** After the last byte: the server has to store the file. */
const ANSWER_MS = 120_000;
/** How long a refusal may take to arrive after the connection broke while sending, in milliseconds. */
const REFUSAL_MS = 2_000;

/** `onSent` is told the bytes sent so far. Throws CliError with what to do, UnreachableError. */
export async function uploadFile(cli: Cli, file: { readonly path: string; readonly name: string; readonly sizeBytes: number }, onSent: (bytes: number) => void): Promise<SentUpload> {
  const connection = cli.connection();
  const url = new URL(connection.url);
  url.pathname = url.pathname.replace(/\/graphql$/, "/data/v1/uploads");
  url.searchParams.set("name", file.name);
  const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
    method: "PUT",
    headers: {
      "content-type": "application/octet-stream", "content-length": file.sizeBytes, expect: "100-continue",
      ...(connection.token === null ? {} : { authorization: `Bearer ${connection.token}` }),
    },
  });
  let failure: Error | null = null;
  const answered = new Promise<IncomingMessage>((resolve, reject) => request.once("response", resolve).on("error", (error) => {
    failure = error;
    reject(error);
  }));
  answered.catch(() => undefined); // awaited below
  let refused = false;
  void answered.then(() => { refused = true; }, () => undefined);
  request.flushHeaders();
  try {
    await agreement(request, answered);
    const contentHash = refused ? "" : await send(request, file, () => refused || failure !== null, onSent);
    const response = await withDeadline(answered, failure === null ? ANSWER_MS : REFUSAL_MS);
    const body = await readBody(response);
    if (response.statusCode !== 201) throw refusalOf(cli, response.statusCode ?? 0, body);
    const upload = JSON.parse(body) as SentUpload;
    if (upload.contentHash !== contentHash) { // P1
      throw new CliError(EXIT.failure, `${file.path} arrived with another content than it was read with: sha256 ${upload.contentHash} instead of ${contentHash}.`, { hint: "Something on the way changes what passes. Nothing was registered; try again." });
    }
    return upload;
  } catch (error) {
    if (error instanceof CliError) throw error;
    const system = error as NodeJS.ErrnoException;
    if (system.code === "ECONNREFUSED" || system.code === "ENOTFOUND" || failure === null) throw new UnreachableError(connection.url, reasonOf(error), unreachableHint(connection, cli.self), error);
    throw new CliError(EXIT.failure, `The upload of ${file.path} broke off (${reasonOf(error)}).`, { hint: "The server keeps nothing of it. Send it again; a proxy in between must take large bodies (docs/data.md).", cause: error });
  } finally {
    request.destroy();
  }
}

/** P2. */
async function agreement(request: ClientRequest, answered: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    new Promise<void>((resolve) => request.once("continue", resolve)), answered,
    new Promise<void>((resolve) => { timer = setTimeout(resolve, AGREEMENT_MS); }),
  ]).finally(() => clearTimeout(timer));
}

/** Sends the body as fast as the line takes it; returns its sha256. Stops early when the answer is there already. */
async function send(request: ClientRequest, { path, sizeBytes }: { path: string; sizeBytes: number }, over: () => boolean, onSent: (bytes: number) => void): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(path, "r");
  try {
    for (let sent = 0; sent < sizeBytes && !over();) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, sizeBytes - sent));
      const { bytesRead } = await handle.read(piece, 0, piece.length, sent);
      if (bytesRead === 0) { // P3
        throw new CliError(EXIT.failure, `${path} became shorter while it was read.`, { hint: "Add it when whoever writes it has finished." });
      }
      const part = piece.subarray(0, bytesRead);
      hash.update(part);
      if (!request.write(part)) await drained(request, over);
      sent += bytesRead;
      onSent(sent);
    }
    if (!over()) request.end();
    return hash.digest("hex");
  } finally {
    await handle.close();
  }
}

async function drained(request: ClientRequest, over: () => boolean): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = (): void => {
      for (const event of ["drain", "response", "error", "close"]) request.off(event, go);
      resolve();
    };
    for (const event of ["drain", "response", "error", "close"]) request.once(event, go);
    if (over()) go();
  });
}

async function withDeadline<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(Object.assign(new Error("no answer in time"), { name: "TimeoutError" })), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function readBody(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) if (text.length < 100_000) text += String(piece);
  return text;
}

function refusalOf(cli: Cli, status: number, body: string): CliError {
  if (status === 401) return refusedToken({ connection: cli.connection(), self: cli.self });
  let error: { message?: string; extensions?: { code?: string } } | undefined;
  try {
    error = (JSON.parse(body) as { errors?: readonly { message: string }[] }).errors?.[0];
  } catch { /* no answer of ours */ }
  const { url } = cli.connection();
  if (error?.message === undefined) {
    return new CliError(EXIT.failure, `${new URL(url).host} answers ${status} to the upload.`, { hint: status === 413 ? "A proxy in between refuses large bodies; docs/data.md says how to let them through." : "The server may be older than this program, or a proxy stands in between. Put the file on the server and add it with --in-place." });
  }
  const exitCode: ExitCode = status === 403 ? EXIT.auth : status === 503 || status === 507 || status === 408 || status >= 500 ? EXIT.failure : EXIT.usage;
  return new CliError(exitCode, error.message, { hint: status === 413 ? `On the server's machine it can be added where it lies: ${cli.command("data add <file> --in-place")}` : null });
}
