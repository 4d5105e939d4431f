// Host keys: their fingerprints, and which algorithms ask a server for a key of a type.

import { createHash } from "node:crypto";
import type { HostKey } from "./ssh-error.js";

/** Key types in the order in which they are asked for, each with the signature algorithms that show it. No DSA, no SHA-1 signatures. */
export const HOST_KEY_TYPES: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

export function isFingerprint(text: string): boolean {
  return FINGERPRINT.test(text);
}

/** The key in a public key blob (RFC 4253, 6.6): its first string is the type. */
export function hostKeyOf(blob: Buffer): HostKey {
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0;
  return { type: blob.toString("latin1", 4, 4 + Math.min(length, 64)), fingerprint: `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}` };
}

export function sameKey(pinned: HostKey, shown: HostKey): boolean {
  return pinned.fingerprint === shown.fingerprint && (pinned.type === null || pinned.type === shown.type);
}
