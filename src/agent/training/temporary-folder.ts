// A short folder of an attempt's own, where it runs: for Ray, whose sockets lie below it (a socket's path holds 107 bytes), and for links to the data of a run that is
// started over SSH, whose directory is the place's.

import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failed, NeverStarted } from "../attempt/program-role.js";
import type { Place } from "../place/place.js";

/** Ray adds about 70 bytes. */
const LONGEST = 30;
const ASK_MS = 60_000;

export interface FolderHost {
  readonly place: Place;
  /** Whether that is this machine. */
  readonly isHere: boolean;
  /** Words that start the interpreter there. */
  readonly python: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** A folder with links in it, made anew. */
export interface LinkFolder { readonly folder: string; readonly links: readonly (readonly [name: string, target: string])[] }

/** Makes it, closed to others, and the folder of links. Throws NeverStarted, and the signal's reason. */
export async function makeTemporaryFolder({ place, isHere, python, environment, signal }: FolderHost, folder: string | null, linked: LinkFolder | null): Promise<void> {
  if (isHere) {
    if (folder !== null) mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (linked === null) return;
    rmSync(linked.folder, { recursive: true, force: true });
    mkdirSync(linked.folder, { recursive: true, mode: 0o700 });
    for (const [name, target] of linked.links) symlinkSync(target, join(linked.folder, name));
    return;
  }
  if (folder === null && linked === null) return;
  const answer = await place.ask({ argv: [...python, "-c", MAKE], environment, input: JSON.stringify({ folder, linked }), timeoutMs: ASK_MS, signal });
  signal.throwIfAborted();
  if (answer.kind === "answered" && answer.status === 0) return;
  const why = answer.kind === "answered" ? (answer.stderr.trim().split("\n").at(-1) ?? "") : answer.why;
  throw new NeverStarted(failed("PERMISSION_DENIED", `A temporary folder for the run could not be made on ${place.name}: ${why}`, "Look at the rights of that user below /tmp."));
}

const MAKE = `
import json, os, shutil, sys
wanted = json.load(sys.stdin)
if wanted["folder"]:
    os.makedirs(wanted["folder"], 0o700, exist_ok=True)
linked = wanted["linked"]
if linked:
    shutil.rmtree(linked["folder"], ignore_errors=True)
    os.makedirs(linked["folder"], 0o700)
    for name, target in linked["links"]:
        os.symlink(target, os.path.join(linked["folder"], name))
`;

/** Nobody waits for it on another machine. */
export function removeTemporaryFolder({ place, isHere, python }: Pick<FolderHost, "place" | "isHere" | "python">, attemptId: string): void {
  const folder = temporaryFolderPath(attemptId, isHere);
  if (isHere) rmSync(folder, { recursive: true, force: true });
  else void place.ask({ argv: [...python, "-c", "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)", folder], environment: {}, timeoutMs: ASK_MS });
}

/** Where it is, whether it was made or not. `isHere`: on this machine. */
export function temporaryFolderPath(attemptId: string, isHere = true): string {
  const name = `ty-${attemptId.slice(-12)}`;
  const usual = join(isHere ? tmpdir() : "/tmp", name);
  return usual.length <= LONGEST ? usual : join("/tmp", name);
}
