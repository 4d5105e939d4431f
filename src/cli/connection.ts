// Which server the commands talk to, and with which token.
//   N1. Order: flag, then environment, then what a server started here left in its data directory.
//   N2. A token found in a data directory goes only to the server of that directory: TRAINYARD_URL of somebody else never receives it.
//   N3. Tokens never come from a flag: a command line is visible to every user of the machine.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { ClientConfig } from "../config.js";
import { CliError, EXIT } from "./exit-codes.js";
import { readServerNote, tokenFile, type ServerNote } from "./stack/data-directory.js";

export interface ConnectionSources {
  readonly flags: { readonly url?: string; readonly dataDir?: string; readonly tokenFile?: string };
  readonly config: Pick<ClientConfig, "TRAINYARD_URL" | "TRAINYARD_TOKEN" | "TRAINYARD_DATA_DIR">;
  readonly workingDirectory: string;
  /** Whether a process with this pid lives. */
  readonly isRunning: (pid: number) => boolean;
}

export interface Connection {
  /** The GraphQL endpoint, http or https. */
  readonly url: string;
  /** The same for subscriptions, ws or wss. */
  readonly wsUrl: string;
  readonly token: string | null;
  /** Where the address came from, for messages: "--url", "TRAINYARD_URL", or a data directory. */
  readonly source: string;
  /** The data directory that gave the address; null when a flag or variable did. */
  readonly dataDir: string | null;
}

/** The address used when nothing says another. */
export const DEFAULT_URL = "http://127.0.0.1:7070/graphql";

/** Resolves by N1. Throws CliError (usage) for an address that is none and for a token file that is not there. */
export function resolveConnection(sources: ConnectionSources): Connection {
  const { flags, config } = sources;
  const given = flags.url ?? config.TRAINYARD_URL;
  const local = findLocal(sources);
  const endpoint = given === undefined ? null : parseEndpoint(given, flags.url === undefined ? "TRAINYARD_URL" : "--url");
  const fromLocal = endpoint === null ? local : null;
  const url = endpoint ?? fromLocal?.note.url ?? DEFAULT_URL;
  const isLocal = local !== null && sameOrigin(local.note.url, url); // N2
  return {
    url,
    wsUrl: url.replace(/^http/, "ws"),
    token: tokenFrom(flags.tokenFile, sources.workingDirectory) ?? config.TRAINYARD_TOKEN ?? (isLocal ? readToken(tokenFile(local.dataDir, "admin")) : null),
    source: endpoint === null ? (fromLocal === null ? "the default address" : fromLocal.dataDir) : flags.url === undefined ? "TRAINYARD_URL" : "--url",
    dataDir: fromLocal?.dataDir ?? null,
  };
}

/** The GraphQL endpoint of an address given with or without its path: `host:7070`, `http://host`, `http://host/graphql`, `ws://host/graphql`. */
export function parseEndpoint(text: string, origin: string): string {
  const wrong = () => new CliError(EXIT.usage, `${origin} is no address of a server: ${JSON.stringify(text.replace(/[^/@]*@/, "…@"))}.`, { hint: "Give it as http://127.0.0.1:7070 or https://trainyard.example.org." });
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
  } catch {
    throw wrong();
  }
  if (url.protocol === "ws:") url.protocol = "http:";
  if (url.protocol === "wss:") url.protocol = "https:";
  if (url.protocol !== "http:" && url.protocol !== "https:") throw wrong();
  if (url.username !== "" || url.password !== "") throw new CliError(EXIT.usage, `${origin} holds a name or a password, which the server does not take.`, { hint: "Leave out what stands before the '@', and put a token into TRAINYARD_TOKEN or a file named by --token-file." });
  if (!/\/graphql\/?$/.test(url.pathname)) url.pathname = `${url.pathname.replace(/\/+$/, "")}/graphql`;
  url.pathname = url.pathname.replace(/\/$/, "");
  url.hash = "";
  url.search = "";
  return url.href;
}

interface LocalServer { readonly dataDir: string; readonly note: ServerNote }

/** The server that left its address in the data directory; without one named, in `.trainyard` or `.trainyard/demo` here or in a folder above. A running one wins. */
function findLocal({ flags, config, workingDirectory, isRunning }: ConnectionSources): LocalServer | null {
  const named = flags.dataDir ?? config.TRAINYARD_DATA_DIR;
  const found: LocalServer[] = [];
  for (const dataDir of named === undefined ? usualDirectories(workingDirectory) : [resolve(workingDirectory, named)]) {
    const note = readServerNote(dataDir);
    if (note !== null) found.push({ dataDir, note });
  }
  return found.find(({ note }) => isRunning(note.pid)) ?? found[0] ?? null;
}

function* usualDirectories(from: string): Generator<string> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const dataDir = join(folder, ".trainyard");
    if (existsSync(dataDir)) yield* [dataDir, join(dataDir, "demo")];
    if (dirname(folder) === folder) return;
  }
}

function tokenFrom(file: string | undefined, workingDirectory: string): string | null {
  if (file === undefined) return null;
  const token = readToken(resolve(workingDirectory, file));
  if (token === null) throw new CliError(EXIT.usage, `There is no token in ${file}.`, { hint: "Give --token-file a readable file whose first line is the token." });
  return token;
}

function readToken(file: string): string | null {
  try {
    const text = readFileSync(file, "utf8").trim();
    return text === "" ? null : text;
  } catch {
    return null;
  }
}

function sameOrigin(a: string, b: string): boolean {
  return new URL(a).origin === new URL(b).origin;
}
