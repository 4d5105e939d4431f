// The folder of one embedded store and the password in it.
//   T1. A password is random, readable by its owner only, appears whole, and never shows in a process list.
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { EmbeddedStoreError } from "./embedded-store-error.js";
import type { ServerAccount } from "./server-account.js";
import { readIfThere } from "./server-process.js";

/** Creates the store's folder. Others may enter it (the server's account must) but neither list it nor read the secrets in it. */
export function createStore(dataDir: string, store: string, account: ServerAccount): void {
  const mode = account === null ? 0o700 : 0o711;
  mkdirSync(dataDir, { recursive: true, mode });
  mkdirSync(store, { recursive: true, mode });
  if (account !== null) chmodSync(store, 0o711);
}

/** The password of this store, made on first use. `protects` names data that no other password opens; throws EMBEDDED_PASSWORD_REFUSED when it is there and the
 *  password is not. */
export function storedPassword(file: string, protects: string | null): string {
  const known = readIfThere(file)?.trim();
  if (known !== undefined && known !== "") return known;
  if (protects !== null && existsSync(protects)) {
    throw new EmbeddedStoreError(
      "EMBEDDED_PASSWORD_REFUSED",
      `${file} is missing or empty, but ${protects} holds data that only its password opens. Put the file back from a backup; or, to begin anew without the data, move ${protects} away.`,
      { file },
    );
  }
  const password = randomBytes(24).toString("hex");
  const aside = `${file}.new`;
  writeFileSync(aside, `${password}\n`, { mode: 0o600 });
  chmodSync(aside, 0o600);
  renameSync(aside, file);
  return password;
}
