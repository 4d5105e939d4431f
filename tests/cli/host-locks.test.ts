// The locks of SSH hosts in a real Postgres, behind a line that turns the first caller away as a server that is just starting does.
import { connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { openHostLocks } from "../../src/cli/ssh-agents/host-locks.js";
import { createTestDatabase } from "../support/postgres.js";

test("a connection that was refused and ends late takes no lock away from the one after it", async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const line = await startLine(database.url);
  let lost = 0;
  const locks = openHostLocks(line.url, () => { lost++; });
  const others = openHostLocks(database.url, () => undefined);
  onTestFinished(async () => {
    await locks.stop();
    await others.stop();
  });
  await expect(locks.take("ssh_1")).rejects.toThrow("the database system is starting up");
  expect(await locks.take("ssh_1")).toBe(true);
  await line.endRefused();
  expect(await locks.take("ssh_1")).toBe(true);
  expect(lost).toBe(0);
  expect(await others.take("ssh_1")).toBe(false);
  await locks.release("ssh_1");
  expect(await others.take("ssh_1")).toBe(true);
});

/** The first caller gets an error and keeps its connection until `endRefused`; later ones reach the database. */
async function startLine(databaseUrl: string): Promise<{ readonly url: string; endRefused(): Promise<void> }> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let refused: Socket | null = null;
  const server = createServer((client) => {
    sockets.add(client.on("error", () => undefined));
    if (refused === null) {
      refused = client;
      client.once("data", () => client.write(errorResponse("57P03", "the database system is starting up")));
      return;
    }
    const upstream = connect({ host: target.hostname, port: Number(target.port) });
    sockets.add(upstream.on("error", () => undefined));
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  });
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return {
    url: url.href,
    async endRefused() {
      const closed = new Promise((done) => refused!.once("close", done));
      refused!.end();
      await closed;
    },
  };
}

/** A message of Postgres's protocol: E, its length, fields that end with a zero byte, and a zero byte. */
function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
