// sha256 of a whole file, read in order.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

const PIECE_BYTES = 1024 * 1024;

/** Lower-case hex. `onBytes` gets the bytes hashed so far. Throws the file system's errors, and the signal's reason. */
export async function hashFile(path: string, options: { signal?: AbortSignal; onBytes?(n: number): void } = {}): Promise<{ sha256: string; sizeBytes: number }> {
  const file = await open(path, "r");
  try {
    const hash = createHash("sha256");
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    let sizeBytes = 0;
    for (;;) {
      options.signal?.throwIfAborted();
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, null);
      if (bytesRead === 0) return { sha256: hash.digest("hex"), sizeBytes };
      hash.update(piece.subarray(0, bytesRead));
      sizeBytes += bytesRead;
      options.onBytes?.(sizeBytes);
    }
  } finally {
    await file.close();
  }
}
