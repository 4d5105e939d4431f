// Locks in Postgres, one for each SSH host, held by whoever acts for it: never two daemons for one host, on whichever machines.
//   H1. Advisory locks of one connection: Postgres frees them the moment it ends, however its process went.
//   H2. When the connection breaks all locks are lost at once, and `lost` is told before any is asked for again.

import pg from "pg";

/** First key of each lock; any fixed number that no other program uses on this database. */
const LOCK_CLASS = 723_098_121;

export interface HostLocks {
  /** Whether the lock is ours now. Rejects when Postgres is away. */
  take(hostId: string): Promise<boolean>;
  release(hostId: string): Promise<void>;
  stop(): Promise<void>;
}

export function openHostLocks(databaseUrl: string, lost: () => void): HostLocks {
  const held = new Set<string>();
  let client: Promise<pg.Client> | null = null;
  const open = (): Promise<pg.Client> => {
    const fresh = new pg.Client({ connectionString: databaseUrl, application_name: "trainyard ssh-agents", keepAlive: true, connectionTimeoutMillis: 10_000 });
    const opening = fresh.connect().then(() => fresh);
    const over = (): void => {
      if (client !== opening) return; // one that failed may end when the next one has its locks already
      client = null;
      if (held.size > 0) lost(); // H2
      held.clear();
    };
    fresh.on("error", () => undefined);
    fresh.on("end", over);
    opening.catch(over);
    return opening;
  };
  const connect = (): Promise<pg.Client> => client ??= open();
  let last: Promise<unknown> = Promise.resolve();
  /** One question after the other. */
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(act, act);
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    take: (hostId) => inTurn(async () => {
      if (held.has(hostId)) {
        await (await connect()).query("select 1"); // the server may have dropped us without a word
        return held.has(hostId);
      }
      const { rows } = await (await connect()).query<{ won: boolean }>("select pg_try_advisory_lock($1, hashtext($2)) as won", [LOCK_CLASS, hostId]);
      if (rows[0]?.won !== true) return false;
      held.add(hostId);
      return true;
    }),
    release: (hostId) => inTurn(async () => {
      if (!held.delete(hostId) || client === null) return;
      await (await client).query("select pg_advisory_unlock($1, hashtext($2))", [LOCK_CLASS, hostId]).catch(() => undefined); // a broken connection has released it
    }),
    async stop() {
      held.clear();
      const last = client;
      client = null;
      await (await last?.catch(() => null))?.end().catch(() => undefined);
    },
  };
}
