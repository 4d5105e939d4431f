// The registry of data sets on the control plane: takes files up, shows their rows, hands their content to agents.
//   G1. A version is registered with what the file held when it was read, and only if the file stood still meanwhile.
//   G2. Two files at most are read at a time; who asks for the same file again, after a broken connection for instance, gets the reading that is under way or was just done.
//   G3. Rows are shown from a file with exactly the registered content, otherwise from the sample, and then that is said.

import { InvalidInputError, ConflictError, NotFoundError, UnavailableError, type Problem } from "../domain/errors.js";
import type { DatasetDiff } from "../domain/data/dataset-diff.js";
import { isId, type DatasetId } from "../domain/ids.js";
import type { Json } from "../domain/pipeline/state.js";
import { createDataRoots, PathRefusedError } from "../data/read/data-roots.js";
import { formatOf, KNOWN_ENDINGS } from "../data/read/format.js";
import type { Db } from "../db/database.js";
import { CONTROL_PLANE, readDatasets, readFiles, readSamples, registerVersions, type DatasetRow } from "../db/datasets.js";
import { createComparisons } from "./comparisons.js";
import { createDataThread, FileRefusedError, type DataThread, type FileFacts } from "./data-thread.js";
import { createReachableFiles, sameStamp, stampOf, type FileStamp } from "./reachable-files.js";
import { createTurns } from "./turns.js";
import type { Uploads } from "./uploads.js";

export interface DatasetPage {
  readonly rows: readonly Json[];
  /** Number of the first row, from 0. */
  readonly from: number;
  readonly source: "FILE" | "SAMPLE";
  /** Why it is the sample, and what that means; null for rows of the file. */
  readonly note: string | null;
}

export interface Registry {
  /** Reads a file and registers it. `store` runs in the transaction of the new version. Throws InvalidInputError (paths below `input`), ConflictError, UnavailableError. */
  register(input: { readonly name: string; /** In a data directory, or an upload's id. */ readonly path: string; readonly by: string }, store: (trx: Db, id: DatasetId) => Promise<void>): Promise<DatasetRow>;
  /** Rows of a version (G3). */
  page(dataset: DatasetRow, from: number, count: number): Promise<DatasetPage>;
  /** What the rows of two versions have in common and what not; both must lie in files of this machine. Throws ConflictError, UnavailableError. */
  diff(from: DatasetRow, to: DatasetRow): Promise<DatasetDiff>;
  /** A file of this machine with the version's size, for agents, who check the content themselves; null: none. */
  fileOf(dataset: DatasetRow): Promise<string | null>;
  /** Ends what is being read. May be called twice. */
  stop(): Promise<void>;
}

export interface RegistryOptions {
  readonly db: Db;
  readonly uploads: Pick<Uploads, "find">;
  /** Folders whose files may be registered. */
  readonly dataDirs: readonly string[];
  /** Further folders whose files may be shown when a data set lies there. */
  readonly shownDirs: readonly string[];
  /** How long a page waits for a file that has to be hashed first, in milliseconds; default 3,000. */
  readonly patienceMs?: number;
}

/** Like `dataset` of preprocess stages. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/;
const READ_AT_ONCE = 2;
const WAITING_AT_MOST = 16;
const KEPT_READINGS = 32;
const PATIENCE_MS = 3_000;

export function createRegistry(options: RegistryOptions): Registry {
  const { db } = options;
  const registered = createDataRoots(options.dataDirs);
  const shown = createDataRoots([...options.dataDirs, ...options.shownDirs]);
  const pages = createDataThread(), hashes = createDataThread();
  const reachable = createReachableFiles({ roots: shown, thread: hashes });
  const readings = new Map<string, Promise<FileFacts>>();
  const threads = new Set<DataThread>();
  const turns = createTurns({ atOnce: READ_AT_ONCE, waitingAtMost: WAITING_AT_MOST, refusal: `${WAITING_AT_MOST} files are waiting to be read. Try again when some are done.` });
  const comparisons = createComparisons({ db, reachable });
  let stopped = false;

  async function register({ name, path, by }: { name: string; path: string; by: string }, store: (trx: Db, id: DatasetId) => Promise<void>): Promise<DatasetRow> {
    if (!NAME.test(name)) throw refusal("input.name", "INVALID_VALUE", "A data set's name has letters, digits, '.', '_', '-' and '/', begins with a letter or digit, and has up to 200 characters.", "Choose another name, e.g. team/gsm8k.");
    const { file, contentHash } = await fileFor(path);
    const known = formatOf(file);
    if (known === null) throw refusal("input.path", "UNKNOWN_FORMAT", `The ending of ${path} says no data format.`, `Known endings: ${KNOWN_ENDINGS}.`);
    const before = await stampOf(file);
    if (before === null) throw refusal("input.path", "FILE_NOT_FOUND", `${path} is gone.`, "Check the path.");
    const facts = await inspect(file, before);
    const after = await stampOf(file);
    if (after === null || !sameStamp(before, after) || (contentHash !== null && contentHash !== facts.contentHash)) { // G1
      throw new ConflictError("FILE_CHANGED", `${path} was changed while it was read. Register it when whoever writes it has finished.`, { retryable: true });
    }
    reachable.know(file, after, facts.contentHash);
    const id = await db.transaction().execute(async (trx) => {
      const [made] = await registerVersions(trx, [{ name, facts, file: { agentId: CONTROL_PLANE, path: file, changedMs: after.changedMs }, madeBy: null, by }], new Date());
      await store(trx, made!);
      return made!;
    });
    return (await readDatasets(db, [id]))[0]!;
  }

  /** `contentHash`: what the file must hold, where that is known. */
  async function fileFor(path: string): Promise<{ file: string; contentHash: string | null }> {
    if (isId("upl", path)) {
      const upload = await options.uploads.find(path);
      if (upload === null) throw missingUpload(path);
      if ((await stampOf(upload.file)) === null) throw refusal("input.path", "FILE_NOT_FOUND", `The file of upload ${path} is not on this machine.`, "Ask the control plane that took it, or upload it again.");
      return { file: upload.file, contentHash: upload.contentHash };
    }
    try {
      return { file: await registered.locate(path), contentHash: null };
    } catch (error) {
      if (!(error instanceof PathRefusedError)) throw error;
      throw refusal("input.path", error.code, error.message, error.code === "PATH_REFUSED" ? "Put the file into a data directory, or upload it and register the upload's id." : null);
    }
  }

  /** G2. */
  function inspect(file: string, stamp: FileStamp): Promise<FileFacts> {
    const key = JSON.stringify([file, stamp]);
    const begun = readings.get(key) ?? read(file);
    readings.delete(key);
    readings.set(key, begun);
    begun.catch(() => readings.delete(key));
    if (readings.size > KEPT_READINGS) readings.delete(readings.keys().next().value!);
    return begun;
  }

  async function read(file: string): Promise<FileFacts> {
    const done = await turns.take();
    const thread = createDataThread();
    threads.add(thread);
    try {
      if (stopped) throw new UnavailableError("The server is stopping.");
      return await thread.inspect(file, null);
    } catch (error) {
      throw error instanceof FileRefusedError ? refusal("input.path", "UNREADABLE_FILE", error.message, "Correct the file, or prepare it with a preprocess stage, which leaves broken rows out and counts them.") : error;
    } finally {
      threads.delete(thread);
      await thread.stop();
      done();
    }
  }

  async function page(dataset: DatasetRow, from: number, count: number): Promise<DatasetPage> {
    if (from >= dataset.rows) return { rows: [], from, source: "FILE", note: null };
    const files = await readFiles(db, [dataset.id]);
    const reach = await reachable.find(dataset, files, options.patienceMs ?? PATIENCE_MS);
    let why = reach.why;
    if (reach.path !== null) {
      try {
        return { rows: await pages.page(reach.path, dataset.format, from, count), from, source: "FILE", note: null };
      } catch (error) {
        why = `${reach.path} cannot be read: ${(error as Error).message}`;
      }
    }
    const sample = (await readSamples(db, [dataset.id]))[0]?.sample ?? [];
    const rows = sample.slice(from, from + count);
    return { rows, from, source: "SAMPLE", note: `These are the first ${sample.length} of ${dataset.rows} rows, kept when the version was registered; others cannot be shown now: ${why}.` };
  }

  return {
    register, page,
    diff: comparisons.compare,
    fileOf: async (dataset) => reachable.findBySize(dataset, await readFiles(db, [dataset.id])),
    async stop() {
      stopped = true;
      turns.release();
      await Promise.all([comparisons, pages, hashes, ...threads].map((thread) => thread.stop()));
    },
  };
}

function missingUpload(id: string): InvalidInputError {
  const { message } = new NotFoundError("upload", id);
  return refusal("input.path", "FILE_NOT_FOUND", message, "Upload the file first: PUT /data/v1/uploads?name=<file name>.");
}

function refusal(path: string, code: string, message: string, hint: string | null): InvalidInputError {
  const problem: Problem = { path, severity: "ERROR", code, message, hint };
  return new InvalidInputError(message, [problem]);
}
