// The reader that the chaos tests tear off: what it does must disturb nobody but the server.
import { createServer, type AddressInfo, type Socket } from "node:net";
import { onTestFinished, test } from "vitest";
import { createChance } from "../support/chance.js";
import { startFollower } from "../support/checker-follower.js";

test("a follower that is stopped while it still connects leaves no uncaught error behind", async () => {
  const connections: Promise<void>[] = [];
  const server = createServer((socket: Socket) => {
    socket.on("error", () => undefined).resume(); // it hears, and never answers
    connections.push(new Promise((resolve) => socket.once("close", () => resolve())));
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const follower = startFollower({ url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`, token: "t", stageId: "stg", chance: createChance(1) });
  await new Promise((resolve) => server.once("connection", resolve));
  await follower.stop();
  await Promise.all(connections);
});
