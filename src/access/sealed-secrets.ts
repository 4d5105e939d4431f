// Secrets at rest: credentials that the control plane must be able to use again (of SSH hosts, of webhooks) lie in the database only sealed, with a key that does
// not lie there.
//   E1. AES-256-GCM with a fresh nonce each time. The context a secret belongs to is authenticated with it: a sealed text copied to another row does not open.
//   E2. The key comes from TRAINYARD_SECRET_KEY, else from a file. The file is made on the first sealing, never on an opening: a lost key is told, not replaced.
//   E3. Several keys may be given: the first one seals, all of them open. So a key is rotated without a moment at which nothing can be read.
//   E4. Neither a key nor an opened secret is ever part of an error.

import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { ServerConfig } from "../config.js";
import { TrainyardError } from "../domain/errors.js";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^v1\.([0-9a-f]{12})\.([A-Za-z0-9_-]+)$/;

/** A secret that cannot be sealed or opened; names the key's place and what to do, never the secret. */
export class SealError extends TrainyardError {
  readonly kind = "CONFLICT";
  constructor(code: "SECRET_KEY_UNUSABLE" | "SEALED_BY_ANOTHER_KEY" | "SEALED_SECRET_DAMAGED", message: string, options: { cause?: unknown } = {}) {
    super(code, message, options);
  }
}

export interface SealedSecrets {
  /** `context` names what the secret belongs to, e.g. "ssh_hosts/ssh_…/password". Throws SealError when there is no usable key. */
  seal(secret: string, context: string): string;
  /** The secret that was sealed for this very context. Throws SealError. */
  open(sealed: string, context: string): string;
}

/** Where the keys come from: `value` (keys separated by commas or white space) wins over the content of `file`. */
export interface SecretKeySource {
  readonly value: string | undefined;
  /** Mode 0600. Read at each use: a rotated key needs no restart. */
  readonly file: string;
}

export function secretKeySource(config: Pick<ServerConfig, "TRAINYARD_SECRET_KEY" | "TRAINYARD_SECRET_KEY_FILE" | "TRAINYARD_DATA_DIR">): SecretKeySource {
  return { value: config.TRAINYARD_SECRET_KEY, file: resolve(config.TRAINYARD_SECRET_KEY_FILE ?? join(config.TRAINYARD_DATA_DIR, "secret-key")) };
}

export function sealedSecrets(source: SecretKeySource): SealedSecrets {
  return {
    seal(secret, context) {
      const [key] = readKeys(source) ?? makeKey(source); // E2
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key!.bytes, nonce);
      cipher.setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
      return `v1.${key!.id}.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64url")}`;
    },
    open(sealed, context) {
      const match = SEALED.exec(sealed);
      const whole = Buffer.from(match?.[2] ?? "", "base64url");
      if (match === null || whole.length < NONCE_BYTES + TAG_BYTES) throw damaged(context);
      const key = (readKeys(source) ?? []).find(({ id }) => id === match[1]);
      if (key === undefined) {
        throw new SealError("SEALED_BY_ANOTHER_KEY", `The secret of ${context} was sealed with the key ${match[1]}, which ${placeOf(source)} does not hold. Put that key back (beside the present one if there is one), or enter the secret anew.`);
      }
      const decipher = createDecipheriv("aes-256-gcm", key.bytes, whole.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(whole.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(whole.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString("utf8");
      } catch {
        throw damaged(context); // E1: altered, or of another context
      }
    },
  };
}

interface Key { readonly id: string; readonly bytes: Buffer }

/** The keys of the source, the sealing one first; null when the file does not exist. Throws SealError. */
function readKeys(source: SecretKeySource): Key[] | null {
  let text = source.value;
  if (text === undefined) {
    try {
      if ((statSync(source.file).mode & 0o077) !== 0) throw new Error("others may read it; set its mode to 0600");
      text = readFileSync(source.file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw unusable(source, (error as Error).message);
    }
  }
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  if (words.length === 0) throw unusable(source, "it holds no key");
  return words.map((word, index) => {
    const bytes = /^[0-9a-fA-F]{64}$/.test(word) ? Buffer.from(word, "hex") : /^[A-Za-z0-9+/_-]{43}=?$/.test(word) ? Buffer.from(word, "base64") : null;
    if (bytes?.length !== KEY_BYTES) throw unusable(source, `key ${index + 1} is not 32 bytes written as 64 hexadecimal digits or as base64`); // E4
    return { id: idOf(bytes), bytes };
  });
}

/** Makes the key file; whoever loses a race reads the other's key. Throws SealError. */
function makeKey(source: SecretKeySource): Key[] {
  const aside = `${source.file}.${process.pid}.${randomBytes(4).toString("hex")}.new`;
  try {
    mkdirSync(dirname(source.file), { recursive: true, mode: 0o700 });
    writeFileSync(aside, `${randomBytes(KEY_BYTES).toString("base64")}\n`, { mode: 0o600, flag: "wx", flush: true });
    try {
      linkSync(aside, source.file); // whole or not at all, and never over another's
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      rmSync(aside, { force: true });
    }
  } catch (error) {
    throw unusable(source, (error as Error).message);
  }
  return readKeys(source)!;
}

/** Which key this is, without telling anything of it. */
function idOf(bytes: Buffer): string {
  return createHash("sha256").update("trainyard sealing key\0").update(bytes).digest("hex").slice(0, 12);
}

function placeOf(source: SecretKeySource): string {
  return source.value === undefined ? `the file ${source.file}` : "TRAINYARD_SECRET_KEY";
}

function unusable(source: SecretKeySource, why: string): SealError {
  return new SealError("SECRET_KEY_UNUSABLE", `The key that secrets are sealed with cannot be used: ${placeOf(source)}: ${why}. Write 32 random bytes there, e.g. those of \`openssl rand -base64 32\`.`);
}

function damaged(context: string): SealError {
  return new SealError("SEALED_SECRET_DAMAGED", `The sealed secret of ${context} was altered, or belongs to something else. Enter the secret anew.`);
}
