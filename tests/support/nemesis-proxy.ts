// A line to Postgres that can be cut at the worst moment: after COMMIT was sent and before its answer came back.

import { connect, createServer, type Socket } from "node:net";

export interface Proxy {
  /** The database's URL by way of this proxy. */
  readonly url: string;
  /** Answers to COMMIT that were withheld so far. */
  readonly cut: number;
  /** From now on the answer to every n-th COMMIT is withheld and its connection is cut; after that nobody gets through for `awayMs`. Null: all answers pass. */
  cutEvery(n: number | null, awayMs?: number): void;
  stop(): Promise<void>;
}

/** Simple query message `commit`, as pg sends it. */
const COMMIT = Buffer.from("commit\0");

export async function startProxy(databaseUrl: string): Promise<Proxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let every: number | null = null;
  let away = 0;
  let awayUntil = 0;
  let commits = 0;
  let cut = 0;
  const server = createServer((client) => {
    if (Date.now() < awayUntil) return void client.destroy();
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    client.setNoDelay(true);
    let doomed = false;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", () => { sockets.delete(socket); end(); });
    }
    client.on("data", (data) => {
      if (every !== null && data.includes(COMMIT) && ++commits % every === 0) {
        doomed = true;
        cut++;
        awayUntil = Date.now() + away;
      }
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (doomed) end(); // it has committed; nobody will know
      else client.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return {
    url: url.href,
    get cut() { return cut; },
    cutEvery(n, awayMs = 0) {
      every = n;
      away = awayMs;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
