// What a server started here keeps in its data directory, besides the stores: where it listens, its tokens, its children, their logs.
//   F1. Files appear whole (written beside, then renamed); those that hold secrets are readable by their owner only.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ProcessIdentity } from "../../process-identity.js";

/** DIR/server.json: how to reach the server of this directory. */
export interface ServerNote {
  readonly url: string;
  readonly wsUrl: string;
  /** The process that keeps the server up. */
  readonly pid: number;
}

export function serverFile(dataDir: string): string {
  return join(dataDir, "server.json");
}

export function tokenFile(dataDir: string, name: "admin" | "agent"): string {
  return join(dataDir, "tokens", name);
}

/** Output of a child process. */
export function logFile(dataDir: string, child: string): string {
  return join(dataDir, "logs", `${child}.log`);
}

export function agentDirectory(dataDir: string): string {
  return join(dataDir, "agent");
}

/** Files that were sent to the control plane. */
export function uploadsDirectory(dataDir: string): string {
  return join(dataDir, "uploads");
}

/** The lock of the one `trainyard up` of this directory. */
export function lockFile(dataDir: string): string {
  return join(dataDir, "up.lock");
}

/** Null when no server ever started here, or the file is not ours. */
export function readServerNote(dataDir: string): ServerNote | null {
  const note = readJson(serverFile(dataDir)) as Partial<ServerNote> | null;
  if (typeof note?.url !== "string" || typeof note.wsUrl !== "string" || typeof note.pid !== "number") return null;
  return URL.canParse(note.url) ? { url: note.url, wsUrl: note.wsUrl, pid: note.pid } : null;
}

export function writeServerNote(dataDir: string, note: ServerNote): void {
  writeWhole(serverFile(dataDir), `${JSON.stringify(note)}\n`, 0o644);
}

export function removeServerNote(dataDir: string): void {
  rmSync(serverFile(dataDir), { force: true });
}

/** DIR/children.json: the processes that `up` started, for whoever comes after a killed one. */
export function readChildren(dataDir: string): Record<string, ProcessIdentity> {
  return (readJson(join(dataDir, "children.json")) as Record<string, ProcessIdentity> | null) ?? {};
}

export function writeChildren(dataDir: string, children: Readonly<Record<string, ProcessIdentity>>): void {
  writeWhole(join(dataDir, "children.json"), `${JSON.stringify(children)}\n`, 0o600);
}

/** DIR/stopping.json: the `up` that is on its way out. */
export function noteStopping(dataDir: string): void {
  writeWhole(stoppingFile(dataDir), `${JSON.stringify({ pid: process.pid })}\n`, 0o600);
}

export function clearStopping(dataDir: string): void {
  rmSync(stoppingFile(dataDir), { force: true });
}

export function isStopping(dataDir: string, pid: number): boolean {
  return (readJson(stoppingFile(dataDir)) as { pid?: unknown } | null)?.pid === pid;
}

function stoppingFile(dataDir: string): string {
  return join(dataDir, "stopping.json");
}

/** A token, or null when none was made yet. */
export function readTokenFile(dataDir: string, name: "admin" | "agent"): string | null {
  try {
    const text = readFileSync(tokenFile(dataDir, name), "utf8").trim();
    return text === "" ? null : text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

export function writeTokenFile(dataDir: string, name: "admin" | "agent", secret: string): void {
  mkdirSync(join(dataDir, "tokens"), { recursive: true, mode: 0o700 });
  writeWhole(tokenFile(dataDir, name), `${secret}\n`, 0o600);
}

/** F1. */
export function writeWhole(file: string, text: string, mode: number): void {
  mkdirSync(dirname(file), { recursive: true });
  const aside = `${file}.${process.pid}.new`;
  writeFileSync(aside, text, { mode });
  renameSync(aside, file);
}

export function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return null;
    throw error;
  }
}
