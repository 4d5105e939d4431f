// Where the bytes of a log report go. Pure.
//   L1. A stage's log is one address space: every published byte has its place in it, also those that were left out. Between chunks, a jump is a declared gap.
//   L2. What is in is never stored twice: an overlap is cut off, a whole repetition changes nothing.
//   L3. No cut falls inside a code point; the bytes of one that was cut in two by somebody else count as left out.
//   L4. Above the limit bytes are counted and no longer stored.

/** The stage's log so far, in bytes. */
export interface LogEnd {
  /** End of the address space. */
  readonly length: number;
  /** End of the newest stored chunk. */
  readonly storedTo: number;
  readonly storedBytes: number;
  readonly limited: boolean;
}

export const EMPTY_LOG: LogEnd = { length: 0, storedTo: 0, storedBytes: 0, limited: false };

export interface NewChunk {
  readonly fromByte: number;
  /** Left out between the chunk before and this one. */
  readonly skippedBytes: number;
  readonly data: Buffer;
}

/** Takes in `bytes` (UTF-8) that the source published at its own address `fromByte`; `received` is how far that source's log is in. */
export function appendLog(end: LogEnd, received: number, fromByte: number, bytes: Buffer, limitBytes: number): { end: LogEnd; received: number; chunk: NewChunk | null } {
  const publishedTo = fromByte + bytes.length;
  if (publishedTo <= received) return { end, received, chunk: null };
  const base = end.length - received; // where the source's byte 0 would lie
  const start = fromByte < received ? boundaryFrom(bytes, received - fromByte) : 0;
  const room = end.limited ? 0 : limitBytes - end.storedBytes;
  const fits = bytes.length - start <= room;
  const data = bytes.subarray(start, fits ? bytes.length : boundaryBefore(bytes, start, start + Math.max(0, room)));
  const length = base + publishedTo;
  const limited = end.limited || !fits;
  if (data.length === 0) return { end: { ...end, length, limited }, received: publishedTo, chunk: null };
  const at = base + fromByte + start;
  return {
    end: { length, storedTo: at + data.length, storedBytes: end.storedBytes + data.length, limited },
    received: publishedTo,
    chunk: { fromByte: at, skippedBytes: at - end.storedTo, data },
  };
}

/** The first start of a code point at or after `index`. */
export function boundaryFrom(bytes: Buffer, index: number): number {
  let at = Math.max(0, index);
  while (at < bytes.length && isContinuation(bytes, at)) at++;
  return at;
}

/** The last start of a code point at or before `index`, and not before `low`; `index` itself at the end of the bytes. */
export function boundaryBefore(bytes: Buffer, low: number, index: number): number {
  if (index >= bytes.length) return bytes.length;
  let at = index;
  while (at > low && isContinuation(bytes, at)) at--;
  return Math.max(low, at);
}

function isContinuation(bytes: Buffer, index: number): boolean {
  return (bytes[index]! & 0xc0) === 0x80;
}
