// Arrays of numbers in Postgres' binary form. Text costs both sides a decimal conversion for each number, and points come by the hundred thousand.
//   B1. A Buffer given to pg as a parameter is sent as binary; the statement names its type ($1::bigint[]).
//   B2. Doubles travel as their 64 bits: NaN and infinities need no care.

const INT8 = 20;
const FLOAT8 = 701;
const TIMESTAMPTZ = 1184;
/** Postgres counts microseconds from 2000-01-01; this is that day in milliseconds since 1970. */
const POSTGRES_EPOCH_MS = 946_684_800_000;
const HEADER_BYTES = 20;

/** A bigint[] of safe integers; null where the element is null. */
export function int8Array(values: readonly (number | null)[]): Buffer {
  return encode(INT8, values, writeInt8);
}

/** A double precision[]. */
export function float8Array(values: readonly (number | null)[]): Buffer {
  return encode(FLOAT8, values, writeFloat8);
}

/** A timestamptz[] from milliseconds since 1970. */
export function timestampArray(values: readonly (number | null)[]): Buffer {
  return encode(TIMESTAMPTZ, values, writeTimestamp);
}

/** Reads rows of (bigint, timestamptz, double precision), 24 bytes each, as `int8send(…) || timestamptz_send(…) || float8send(…)` writes them. */
export function decodePoints(bytes: Buffer): { step: number; at: number; value: number }[] {
  const points = [];
  for (let offset = 0; offset + 24 <= bytes.length; offset += 24) {
    points.push({ step: readInt8(bytes, offset), at: Math.round(readInt8(bytes, offset + 8) / 1000) + POSTGRES_EPOCH_MS, value: bytes.readDoubleBE(offset + 16) });
  }
  return points;
}

function encode(oid: number, values: readonly (number | null)[], write: (bytes: Buffer, offset: number, value: number) => void): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + values.length * 12);
  bytes.writeInt32BE(1, 0); // dimensions
  bytes.writeInt32BE(1, 4); // may hold nulls
  bytes.writeInt32BE(oid, 8);
  bytes.writeInt32BE(values.length, 12);
  bytes.writeInt32BE(1, 16); // lower bound
  let offset = HEADER_BYTES;
  for (const value of values) {
    if (value === null) {
      bytes.writeInt32BE(-1, offset);
      offset += 4;
      continue;
    }
    bytes.writeInt32BE(8, offset);
    write(bytes, offset + 4, value);
    offset += 12;
  }
  return offset === bytes.length ? bytes : bytes.subarray(0, offset);
}

function writeInt8(bytes: Buffer, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  bytes.writeInt32BE(high, offset);
  bytes.writeUInt32BE(value - high * 0x1_0000_0000, offset + 4);
}

function writeFloat8(bytes: Buffer, offset: number, value: number): void {
  bytes.writeDoubleBE(value, offset);
}

function writeTimestamp(bytes: Buffer, offset: number, value: number): void {
  writeInt8(bytes, offset, (value - POSTGRES_EPOCH_MS) * 1000);
}

/** Reads one bigint. */
export function readInt8(bytes: Buffer, offset: number): number {
  return bytes.readInt32BE(offset) * 0x1_0000_0000 + bytes.readUInt32BE(offset + 4);
}
