// The thread that looks into data files for the control plane, so that neither a large file nor a hostile one holds up its event loop.

import { parentPort } from "node:worker_threads";
import { diffFiles } from "../data/diff.js";
import { hashFile } from "../data/read/file-hash.js";
import { inspectFile } from "../data/read/inspect.js";
import { readPage } from "../data/read/page.js";
import type { ThreadAnswer, ThreadRequest, Work } from "./data-thread.js";

function perform(work: Work): Promise<unknown> {
  switch (work.kind) {
    case "inspect": return inspectFile(work.path, work.format === null ? {} : { format: work.format });
    case "page": return readPage(work.path, work.format, { from: work.from, count: work.count });
    case "hash": return hashFile(work.path);
    case "diff": return diffFiles(work.from, work.to);
  }
}

parentPort!.on("message", ({ id, work }: ThreadRequest) => {
  const answer = (message: ThreadAnswer): void => parentPort!.postMessage(message);
  perform(work).then(
    (value) => answer({ id, value }),
    (error: unknown) => answer({ id, failure: { code: (error as { code?: unknown }).code === undefined ? null : String((error as { code: unknown }).code), message: error instanceof Error ? error.message : String(error) } }),
  );
});
