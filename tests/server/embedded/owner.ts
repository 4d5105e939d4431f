// A process that owns an embedded store, for tests that kill it. Started with one JSON argument; prints one JSON line when the store is up (or why it is not),
// then stops the store cleanly when its standard input ends, or stays when it is told to.
import { acquireDirectoryLock } from "../../../src/directory-lock.js";
import { startEmbeddedPostgres } from "../../../src/server/embedded/postgres.js";
import { startEmbeddedRedis } from "../../../src/server/embedded/redis.js";

export type OwnerOrder =
  | { store: "postgres"; dataDir: string; nativeDir?: string; cacheDirs?: string[] }
  | { store: "redis"; dataDir: string }
  | { store: "lock"; file: string };

const order = JSON.parse(process.argv[2] ?? "{}") as OwnerOrder;
const log = { info: (facts: object, message: string) => console.error(message, facts), warn: (facts: object, message: string) => console.error(message, facts) };
process.on("SIGINT", () => undefined); // decides itself when to stop, as the server does

try {
  const startedAt = performance.now();
  const { facts, stop } = await take(order);
  console.log(JSON.stringify({ ...facts, tookMs: performance.now() - startedAt }));
  process.stdin.resume();
  process.stdin.once("end", () => {
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  console.log(JSON.stringify({ code: code ?? "BUG", message }));
  process.exit(1);
}

async function take(request: OwnerOrder): Promise<{ facts: object; stop: () => Promise<void> }> {
  if (request.store === "lock") {
    const outcome = await acquireDirectoryLock(request.file);
    return { facts: { kind: outcome.kind }, stop: async () => (outcome.kind === "held" ? outcome.lock.release() : undefined) };
  }
  const store = request.store === "postgres" ? await startEmbeddedPostgres({ ...request, log }) : await startEmbeddedRedis({ ...request, log });
  if (store === null) throw new Error("this machine has no Redis");
  return { facts: { url: store.url, pid: store.pid, adopted: store.adopted }, stop: () => store.stop() };
}
