// sha256 of files here and on a host, and how far two of them agree.
//   D1. A part that agrees is one whose digest from the beginning of the file agrees: holes and strange bytes are found wherever they are.

import { createHash, randomUUID, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { RemoteStore } from "./remote-store.js";

/** A part that does not agree is thrown away by steps of this length, in bytes. */
const STEP = 1024 * 1024;
/** Asked of a host at once, in bytes: some hundredths of a second, on a slow disk some seconds. */
const SPAN = 64 * 1024 * 1024;

/** Digest of a file on a host that may still be growing. */
export interface RemoteDigest {
  /** How far it has got. */
  at(): number;
  /** Goes on to there. Resolves with the digest of everything up to there; null when the file ends before. */
  advance(to: number, last?: boolean): Promise<string | null>;
}

/** A digest that the helper has got so far. */
export interface BegunDigest { readonly key: string; readonly at: number }

export function remoteDigest(store: RemoteStore, path: string, { begun = { key: randomUUID(), at: 0 }, progressed = () => undefined, signal }: { readonly begun?: BegunDigest; readonly progressed?: (bytes: number) => void; readonly signal?: AbortSignal | undefined } = {}): RemoteDigest {
  const { key } = begun;
  let { at } = begun;
  return {
    at: () => at,
    async advance(to, last = false) {
      for (;;) {
        signal?.throwIfAborted();
        const until = Math.min(to, at + SPAN);
        const answer = await store.digest({ path, key, from: at, to: until, step: SPAN, last: last && until === to });
        at = answer.to;
        progressed(at);
        if (at < until) return null;
        if (at === to) return answer.whole;
      }
    },
  };
}

/** The beginning that a file here and one on a host have in common, up to `limit`, in bytes; with its digest here, and that on the host, to go on from. */
export async function commonBeginning(file: FileHandle, store: RemoteStore, path: string, limit: number, progressed: (bytes: number) => void, signal?: AbortSignal): Promise<{ readonly bytes: number; readonly hash: Hash; readonly begun: BegunDigest }> {
  const key = randomUUID();
  let [at, hash, hashedThere] = [0, createHash("sha256"), 0];
  while (at < limit) {
    signal?.throwIfAborted();
    const to = Math.min(limit, at + SPAN);
    const [there, here] = await Promise.all([store.digest({ path, key, from: at, to, step: STEP, last: false }), localDigests(file, hash, at, to)]);
    const agreed = here.findIndex(({ digest }, index) => digest !== there.digests[index]); // D1
    const good = agreed < 0 ? here.at(-1) : here[agreed - 1];
    if (good !== undefined) [at, hash] = [good.to, good.hash];
    progressed(at);
    if (at < to) break;
    hashedThere = at;
  }
  return { bytes: at, hash, begun: { key, at: hashedThere } };
}

/** Digests at each multiple of STEP and at `to`, or at the end of the file. */
async function localDigests(file: FileHandle, begun: Hash, from: number, to: number): Promise<{ readonly to: number; readonly digest: string; readonly hash: Hash }[]> {
  const found: { to: number; digest: string; hash: Hash }[] = [];
  const buffer = Buffer.allocUnsafeSlow(STEP);
  let hash = begun;
  for (let at = from; at < to;) {
    const length = Math.min(STEP - (at % STEP), to - at);
    if ((await file.read(buffer, 0, length, at)).bytesRead < length) return found;
    at += length;
    hash = hash.copy().update(buffer.subarray(0, length));
    found.push({ to: at, digest: hash.copy().digest("hex"), hash });
  }
  return found;
}

/** sha256 of a file here up to `to`, or to its end, hex; `begun` has hashed everything before `from`. */
export async function localDigest(file: FileHandle, { progressed, signal, begun = createHash("sha256"), from = 0, to = Number.POSITIVE_INFINITY }: {
  readonly progressed?: (bytes: number) => void; readonly signal?: AbortSignal | undefined; readonly begun?: Hash; readonly from?: number; readonly to?: number;
} = {}): Promise<string> {
  const buffer = Buffer.allocUnsafeSlow(STEP);
  for (let at = from; ;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, Math.min(STEP, to - at), at);
    if (bytesRead === 0) return begun.digest("hex");
    begun.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    progressed?.(at);
  }
}
