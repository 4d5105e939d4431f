// The stores of a server started here: PostgreSQL (embedded unless DATABASE_URL names one) and Redis (private where this machine has one, unless told otherwise).
//   S1. A store that dies is started again on the same data; whoever uses it is told when its address changed.
//   S2. Redis stops before PostgreSQL: nothing in it is the only copy.
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../server/embedded/postgres.js";
import { identifyProcess } from "../../process-identity.js";
import { startEmbeddedRedis, type EmbeddedRedis } from "../../server/embedded/redis.js";
import type { EmbeddedStoreLog } from "../../server/embedded/embedded-store-error.js";

const WATCH_EVERY_MS = 500;

export interface StoreOptions {
  readonly dataDir: string;
  readonly databaseUrl: string | undefined;
  readonly redisUrl: string | undefined;
  /** False: no Redis even where one could run. */
  readonly wantsRedis: boolean;
  readonly log: EmbeddedStoreLog;
}

export interface Stores {
  databaseUrl(): string;
  /** Null: agents use HTTPS. */
  redisUrl(): string | null;
  /** For the banner: "embedded", "adopted", "DATABASE_URL", … */
  readonly kinds: { readonly postgres: string; readonly redis: string };
  stop(): Promise<void>;
}

/** Starts both at once. `onMoved`: a store had to be started again elsewhere (S1). Throws EmbeddedStoreError; nothing is left running then. */
export async function startStores(options: StoreOptions, onMoved: () => void): Promise<Stores> {
  const { dataDir, databaseUrl, redisUrl, wantsRedis, log } = options;
  const startPostgres = () => startEmbeddedPostgres({ dataDir, log });
  const startRedis = () => startEmbeddedRedis({ dataDir, log });
  const [postgresResult, redisResult] = await Promise.allSettled([
    databaseUrl === undefined ? startPostgres() : null,
    redisUrl === undefined && wantsRedis ? startRedis() : null,
  ]);
  if (postgresResult.status === "rejected") {
    if (redisResult.status === "fulfilled") await redisResult.value?.stop();
    throw postgresResult.reason;
  }
  let postgres: EmbeddedPostgres | null = postgresResult.value;
  let redis: EmbeddedRedis | null = redisResult.status === "fulfilled" ? redisResult.value : null;
  if (redisResult.status === "rejected") log.warn({ err: redisResult.reason as unknown }, "the private Redis did not start; agents use HTTPS until the next start");

  const kinds = {
    postgres: postgres === null ? "DATABASE_URL" : postgres.adopted ? "embedded, adopted" : "embedded",
    redis: redisUrl !== undefined ? "REDIS_URL" : redis === null ? (wantsRedis ? "none found: agents use HTTPS" : "off: agents use HTTPS") : redis.adopted ? "private, adopted" : "private",
  };
  let stopped = false, mending = false;
  const mend = async () => {
    if (mending || stopped) return;
    mending = true;
    try {
      if (postgres !== null && identifyProcess(postgres.pid) === null) {
        log.warn({ pid: postgres.pid }, "PostgreSQL is gone; it is started again");
        const before = postgres.url;
        await postgres.stop();
        postgres = await startPostgres();
        if (postgres.url !== before) onMoved();
      }
      if (redis !== null && identifyProcess(redis.pid) === null) {
        log.warn({ pid: redis.pid }, "Redis is gone; it is started again");
        const before = redis.url;
        await redis.stop();
        redis = (await startRedis()) ?? redis;
        if (redis.url !== before) onMoved();
      }
    } catch (error) {
      log.warn({ err: error }, "a store could not be started again; another try follows");
    } finally {
      mending = false;
    }
  };
  const watch = setInterval(() => void mend(), WATCH_EVERY_MS);
  return {
    databaseUrl: () => databaseUrl ?? postgres!.url,
    redisUrl: () => redisUrl ?? redis?.url ?? null,
    kinds,
    async stop() {
      stopped = true;
      clearInterval(watch);
      while (mending) await new Promise((resolve) => setTimeout(resolve, 20));
      await redis?.stop(); // S2
      await postgres?.stop();
    },
  };
}
