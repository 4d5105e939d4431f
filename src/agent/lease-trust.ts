// How long this agent may believe in its leases.
//   T1. Trust ends at (renewal sent + 0.8 × TTL): a slow answer never stretches a lease, and programs are gone before another agent may start them.
//   T2. It is measured on the clock that runs since boot, so it survives a restart of this process, and no one can set it.
//   T3. Trust that ended comes back with the next renewal; what was stopped meanwhile stays stopped.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { pidRealm } from "../process-identity.js";

/** Part of the TTL for which a renewal is trusted. */
const TRUSTED_PART = 0.8;
/** Part of the TTL that stopping may take: TERM, grace, KILL end well before the lease does. */
const STOPPING_PART = 0.15;
/** After a start with programs whose trust is over: time to hear from the control plane before they are stopped, in milliseconds. */
const START_ALLOWANCE_MS = 20_000;

interface Kept { readonly realm: string; readonly sentAt: number; readonly ttlMs: number }

/** Milliseconds since boot. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export interface LeaseTrust {
  /** A renewal that was sent at `sentAt` (monotonicMs) was accepted. */
  renewed(sentAt: number, ttlMs: number): void;
  /** Whether new attempts may start. */
  trusted(): boolean;
  /** Longest grace that a stop for lost trust may give, in milliseconds. */
  longestGraceMs(): number;
  close(): void;
}

/** `file` keeps the last renewal over restarts; `expired` is called each time that trust ends. */
export function leaseTrust(file: string, expired: (silentMs: number) => void): LeaseTrust {
  let last = readKept(file);
  let timer: NodeJS.Timeout | null = null;
  const endsAt = (): number => (last === null ? Number.NEGATIVE_INFINITY : last.sentAt + last.ttlMs * TRUSTED_PART);
  const arm = (atLeastMs: number): void => {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(() => {
      const early = endsAt() - monotonicMs();
      if (early > 0) arm(early);
      else expired(last === null ? 0 : monotonicMs() - last.sentAt); // T1
    }, Math.min(2 ** 31 - 1, Math.max(atLeastMs, endsAt() - monotonicMs())));
  };
  arm(START_ALLOWANCE_MS);
  return {
    renewed(sentAt, ttlMs) {
      last = { realm: pidRealm(), sentAt, ttlMs };
      arm(0);
      try {
        writeFileSync(`${file}.new`, JSON.stringify(last), { mode: 0o600 });
        renameSync(`${file}.new`, file); // T2
      } catch {
        // Without it the next process trusts an older renewal: shorter, which is the safe side.
      }
    },
    trusted: () => monotonicMs() < endsAt(),
    longestGraceMs: () => (last?.ttlMs ?? 600_000) * STOPPING_PART,
    close() {
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function readKept(file: string): Kept | null {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as Kept;
    return kept.realm === pidRealm() ? kept : null;
  } catch {
    return null;
  }
}
