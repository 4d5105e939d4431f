// A role that one control-plane process holds at a time: dispatcher, caretaker.
//   R1. The advisory lock says who lives: Postgres frees it the moment the holder's connection ends.
//   R2. The epoch fences who was replaced: a holder that lost its connection without noticing is refused in the transaction that relies on the role.
//   R3. A holder that stands still (frozen, or its host asleep) keeps its connection: after SILENT_MS without a sign of life a rival ends that connection.

import pg from "pg";
import type { Logger } from "pino";

type RoleName = "dispatcher" | "caretaker";

/** Keys of the advisory locks; any fixed numbers that no other program uses on this database. */
const LOCK_KEYS: Record<RoleName, number> = { dispatcher: 7_230_981_201, caretaker: 7_230_981_202 };
const RETRY_MS = 1_000;
/** How often a holder says that it lives, in milliseconds. */
const SIGN_OF_LIFE_MS = 3_000;
/** Silence for this long, in milliseconds, is a holder that stands still. */
const SILENT_MS = 10_000;

const END_SILENT_HOLDER = `
  select pg_terminate_backend(l.pid) from roles r, pg_locks l
  where r.name = $1 and r.seen_at < clock_timestamp() - $2 * interval '1 millisecond' and l.locktype = 'advisory' and l.granted
    and l.database = (select oid from pg_database where datname = current_database()) and l.classid::bigint = $3 and l.objid::bigint = $4 and l.objsubid = 1`;

export interface HeldRole { readonly epoch: number }

export interface RoleKeeper {
  /** The role while it is held, else null. */
  readonly held: HeldRole | null;
  stop(): Promise<void>;
}

/** Keeps asking for a role on a connection of its own; `taken` runs when it is won, `lost` when the connection breaks. */
export function keepRole(options: {
  name: RoleName; databaseUrl: string; holder: string; log: Logger; taken?: (role: HeldRole) => void; lost?: () => void;
}): RoleKeeper {
  let held: HeldRole | null = null;
  let stopped = false;
  let saidAt = 0;
  let client: pg.Client | null = null;
  let wake: () => void = () => undefined;

  const lose = (): void => {
    client = null;
    if (held === null) return;
    held = null;
    options.log.warn({ role: options.name }, "role lost: its connection to Postgres ended");
    options.lost?.();
  };
  const ask = async (): Promise<void> => {
    if (client === null) {
      const fresh = new pg.Client({ connectionString: options.databaseUrl, application_name: `trainyard ${options.name}`, keepAlive: true });
      fresh.on("error", () => undefined);
      await fresh.connect();
      fresh.on("end", () => { if (client === fresh) { lose(); wake(); } });
      client = fresh;
    }
    if (held !== null) {
      if (performance.now() - saidAt < SIGN_OF_LIFE_MS) return;
      saidAt = performance.now();
      // The server may have dropped us without a word, or a rival may have taken over: this finds out.
      const { rowCount } = await client.query("update roles set seen_at = clock_timestamp() where name = $1 and epoch = $2", [options.name, held.epoch]);
      if (rowCount !== 1) throw new Error("another process took the role over");
      return;
    }
    const { rows } = await client.query<{ won: boolean }>("select pg_try_advisory_lock($1) as won", [LOCK_KEYS[options.name]]);
    if (rows[0]?.won !== true) {
      await client.query(END_SILENT_HOLDER, [options.name, SILENT_MS, Math.floor(LOCK_KEYS[options.name] / 2 ** 32), LOCK_KEYS[options.name] % 2 ** 32]); // R3; the next round asks again
      return;
    }
    const epoch = await client.query<{ epoch: string }>("update roles set epoch = epoch + 1, holder = $2, seen_at = clock_timestamp() where name = $1 returning epoch", [options.name, options.holder]);
    held = { epoch: Number(epoch.rows[0]!.epoch) };
    saidAt = performance.now();
    options.log.info({ role: options.name, epoch: held.epoch }, "role taken");
    options.taken?.(held);
  };
  const loop = (async () => {
    while (!stopped) {
      await ask().catch((error: unknown) => {
        options.log.warn({ err: error, role: options.name }, "asking for a role failed; trying again");
        const broken = client;
        lose();
        void broken?.end().catch(() => undefined);
      });
      if (!stopped) await new Promise<void>((resolve) => { const timer = setTimeout(resolve, RETRY_MS); wake = () => { clearTimeout(timer); setTimeout(resolve, 100); }; });
    }
  })();

  return {
    get held() { return held; },
    async stop() {
      stopped = true;
      wake();
      await loop;
      const last = client;
      client = null;
      held = null;
      await last?.end().catch(() => undefined);
    },
  };
}
