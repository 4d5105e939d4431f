// The text of a token: `ty_<role letter>_<43 base62 characters: 32 random bytes><6 base62 characters: CRC-32 of all before>`.
//   T1. A token is a secret: it is shown once, only its SHA-256 is kept, and no message ever repeats it.
//   T2. The checksum makes a mistyped or cut token recognisable without asking the database, and a leaked one findable by secret scanners.

import { createHash, randomBytes } from "node:crypto";
import type { Role } from "./roles.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 62^43 > 2^256: room for 32 bytes. */
const SECRET_CHARACTERS = 43;
/** 62^6 > 2^32. */
const CHECKSUM_CHARACTERS = 6;
const LETTERS: Readonly<Record<Role, string>> = { viewer: "v", operator: "o", admin: "a", agent: "g" };
const PATTERN = /^ty_[voag]_[0-9A-Za-z]{49}$/;

/** A new token of the role, from 32 bytes of cryptographic chance. */
export function mintToken(role: Role): string {
  const body = `ty_${LETTERS[role]}_${base62(BigInt(`0x${randomBytes(32).toString("hex")}`), SECRET_CHARACTERS)}`;
  return body + checksumOf(body);
}

/** Whether the text has a token's form and checksum. Says nothing about whether it is known. */
export function isTokenText(text: string): boolean {
  return PATTERN.test(text) && checksumOf(text.slice(0, -CHECKSUM_CHARACTERS)) === text.slice(-CHECKSUM_CHARACTERS);
}

/** What is stored: SHA-256, hex. The token has 256 random bits, so no salt or slow hash is needed. */
export function hashToken(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function checksumOf(text: string): string {
  return base62(BigInt(crc32(text)), CHECKSUM_CHARACTERS);
}

function base62(value: bigint, length: number): string {
  let text = "";
  for (let rest = value; text.length < length; rest /= 62n) text = ALPHABET[Number(rest % 62n)] + text;
  return text;
}

/** CRC-32 as in IEEE 802.3, of ASCII text (Node has its own only from 20.15 on, and not on every line we run on). */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
