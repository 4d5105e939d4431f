// sha256 of a large file here that is still growing, computed by a thread of its own: in the thread that decrypts, it would cost a sixth of the throughput.
//   N1. What is hashed is what can be read back from the file, not what was in memory.
//   N2. The thread reads a descriptor of ours: `close` has ended it before that descriptor may be closed.
//   N3. What it has hashed it has had written to the disk, too: the disk works while more comes, and whoever syncs at the end waits for little.

import { Worker } from "node:worker_threads";

const PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const { fdatasyncSync, readSync } = require("node:fs");
const hash = require("node:crypto").createHash("sha256");
const buffer = Buffer.allocUnsafeSlow(1 << 20);
let at = 0;
parentPort.on("message", ({ to, last }) => {
  for (let count = 1; at < to && count > 0; at += count) {
    count = readSync(workerData.descriptor, buffer, 0, Math.min(buffer.length, to - at), at);
    hash.update(buffer.subarray(0, count));
  }
  fdatasyncSync(workerData.descriptor); // N3
  if (last) parentPort.postMessage(hash.digest("hex"));
});
`;

export interface ThreadDigest {
  /** Everything up to there has been written: it may be hashed. */
  advance(to: number): void;
  /** The digest, in hex, of everything up to there. Rejects with what the thread met. */
  end(to: number): Promise<string>;
  /** N2. May be called twice. */
  close(): Promise<void>;
}

/** `descriptor`: of a file that is open for reading. */
export function threadDigest(descriptor: number): ThreadDigest {
  const worker = new Worker(PROGRAM, { eval: true, execArgv: [], workerData: { descriptor } });
  const answer = new Promise<string>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the thread that hashes has ended")));
  });
  answer.catch(() => undefined); // awaited in `end`
  worker.unref();
  return {
    advance: (to) => worker.postMessage({ to, last: false }),
    end(to) {
      worker.postMessage({ to, last: true });
      worker.ref();
      return answer;
    },
    close: async () => void (await worker.terminate()),
  };
}
