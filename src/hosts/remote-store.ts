// What the helper on a host does for files that are brought to it or fetched from it: the questions of helper-store.ts with their types. Paths are absolute, on the host.

export interface RemoteDigests {
  /** How far it got: less than was asked for when the file ends before. */
  readonly to: number;
  /** sha256 of everything up to each multiple of `step` that was passed, and up to the end that was asked for. */
  readonly digests: readonly string[];
  /** sha256 of everything up to `to`. */
  readonly whole: string;
}

/** Each may reject with HelperRefusal, or with the end of the connection. */
export interface RemoteStore {
  /** Makes the file that is written to, and its folder, and locks it; not claimed: somebody else has it. `free` is the room on that disk in bytes. */
  claim(path: string): Promise<{ readonly claimed: false } | { readonly claimed: true; readonly size: number; readonly free: number }>;
  /** Gives a claim back, if it is held; `drop` removes the file then. */
  unclaim(path: string, drop: boolean): Promise<void>;
  /** Removes a folder with all that is in it, if it is there. */
  discard(folder: string): Promise<void>;
  /** Writes a little at the end of a claimed file: rejects with what stands in the way of writing. */
  probe(path: string): Promise<void>;
  /** Puts a claimed file in place: cut to `size`, synced, read-only, renamed. */
  keep(path: string, into: string, size: number): Promise<void>;
  /** Where `folder` has a file of that size, under that name from now on. `whole`: untouched since it was verified. */
  held(folder: string, name: string, size: number): Promise<{ readonly path: string | null; readonly whole: boolean }>;
  /** Goes on with the digest `key` from where it ended before, or from where the last call but one ended; from 0 begins. `last`: nothing follows. */
  digest(question: { readonly path: string; readonly key: string; readonly from: number; readonly to: number; readonly step: number; readonly last: boolean }): Promise<RemoteDigests>;
  /** Notes that an attempt uses what a store holds under these hashes; names those that it does not hold. */
  use(folder: string, user: string, hashes: readonly string[]): Promise<readonly string[]>;
  /** Removes what a store made and nobody used or asked for in `ageSeconds`; names what went. `heldBy`: attempts that go on, whatever is to be seen of them there. */
  sweep(folder: string, ageSeconds: number, heldBy: readonly string[]): Promise<readonly string[]>;
}

export function remoteStore(ask: <T>(op: string, parameters: object) => Promise<T>): RemoteStore {
  return {
    claim: (path) => ask("claim", { path }),
    unclaim: (path, drop) => ask("unclaim", { path, drop }),
    discard: (folder) => ask("discard", { folder }),
    probe: (path) => ask("probe", { path }),
    keep: (path, into, size) => ask("keep", { path, into, size }),
    held: (folder, name, size) => ask("held", { folder, name, size }),
    digest: (question) => ask("digest", question),
    use: async (folder, user, hashes) => (await ask<{ missing: string[] }>("use", { folder, user, hashes })).missing,
    sweep: async (folder, age, heldBy) => (await ask<{ removed: string[] }>("sweep", { folder, age, heldBy })).removed,
  };
}
