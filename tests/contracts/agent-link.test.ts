// What both links promise (src/agent/link/agent-link.ts), asked of each against the same peer.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { controlPlaneClient, type ControlPlaneClient } from "../../src/agent/control-plane-client.js";
import type { Batch } from "../../src/agent/journal/spool.js";
import type { AgentLink, LinkKind } from "../../src/agent/link/agent-link.js";
import { httpsLink } from "../../src/agent/link/https-link.js";
import { openStreamsLink } from "../../src/agent/link/streams-link.js";
import { newId } from "../../src/domain/ids.js";
import { LIMITS, type Order, type SessionOpened } from "../../src/protocol/messages.js";
import { commandAssignment, assign, PEER_TOKEN, startPeer, type Peer } from "../support/control-plane-peer.js";
import { redisIsHere, testRedis } from "../support/redis.js";

const EPOCH = "0123456789abcdef01234567";
const kinds: LinkKind[] = redisIsHere ? ["https", "streams"] : ["https"];

describe.each(kinds)("the %s link", (kind) => {
  let peer: Peer;
  let client: ControlPlaneClient;
  let session: SessionOpened;
  const links: AgentLink[] = [];
  const attemptId = newId("att");

  const open = async (): Promise<AgentLink> => {
    const link = kind === "https" ? httpsLink({ client, sessionId: session.sessionId, epoch: EPOCH, waitMs: 1_000 }) : await openStreamsLink({ redis: session.redis as NonNullable<SessionOpened["redis"]>, epoch: EPOCH });
    links.push(link);
    return link;
  };
  const batch = (from: number, to: number, text = "x"): Batch => ({
    from, to, texts: Array.from({ length: to - from + 1 }, (_, i) => JSON.stringify({ n: from + i, type: "log", attemptId, fence: 1, at: 0, fromByte: i, skippedBytes: 0, text })),
  });
  /** Receives until an order of the wanted type is among what came. */
  const receiveOrders = async (link: AgentLink, wanted: number): Promise<{ orders: Order[]; acknowledge: () => void }> => {
    const orders: Order[] = [];
    const acknowledgements: (() => void)[] = [];
    for (let tries = 0; orders.length < wanted && tries < 50; tries++) {
      const got = await link.receive();
      orders.push(...(got.orders as Order[]).filter((order) => order.type !== "watermark"));
      acknowledgements.push(got.acknowledge);
    }
    return { orders, acknowledge: () => acknowledgements.forEach((each) => each()) };
  };

  beforeEach(async () => {
    peer = await startPeer({ redis: kind === "streams" ? testRedis() : null, republishAfterMs: 60_000 });
    client = controlPlaneClient({ url: peer.url, token: PEER_TOKEN });
    session = await client.openSession({
      protocol: 1, name: "test", epoch: EPOCH, instance: "instance-1", pools: [], capabilities: [], labels: {}, gpus: [], versions: {}, runMode: "LOCAL", address: null, held: [],
    });
  });
  afterEach(async () => {
    for (const link of links.splice(0)) link.close();
    client.destroy();
    await peer.stop();
  });

  test("orders come in the order in which they were given", async () => {
    const link = await open();
    const given = Array.from({ length: 5 }, () => assign(commandAssignment(["true"])));
    for (const order of given) peer.order(order);
    expect((await receiveOrders(link, 5)).orders.slice(0, 5)).toEqual(given);
  });

  test("an order that was not acknowledged comes again, also to a new link, and one that was does not", async () => {
    const first = await open();
    const order = assign(commandAssignment(["true"]));
    peer.order(order);
    expect((await receiveOrders(first, 1)).orders).toEqual([order]);
    first.close();

    const second = await open();
    const again = await receiveOrders(second, 1);
    expect(again.orders).toEqual([order]);
    again.acknowledge();
    const other = assign(commandAssignment(["true"]));
    peer.order(other);
    const after = await receiveOrders(second, 1);
    expect(after.orders).toEqual([other]);
  });

  test("reports are applied in order, repeats are absorbed, and the watermark says how far", async () => {
    const link = await open();
    await link.send(batch(1, 3));
    await link.send(batch(2, 5));
    await peer.until(() => peer.watermark() === 5, "five reports to be committed");
    expect(peer.reports.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5]);
    expect(peer.absorbed).toEqual([2, 3]);
  });

  test("after a gap nothing beyond it is applied, and sending again from the watermark heals it", async () => {
    const link = await open();
    await link.send(batch(1, 2));
    await link.send(batch(5, 6));
    await peer.until(() => peer.watermark() === 2, "two reports to be committed");
    await link.send(batch(3, 6));
    await peer.until(() => peer.watermark() === 6, "all reports to be committed");
    expect(peer.reports.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("a batch as large as the protocol allows arrives whole", async () => {
    const link = await open();
    await link.send(batch(1, 62, "é".repeat(LIMITS.logChunkBytes / 2)));
    await peer.until(() => peer.watermark() === 62, "the batch to be committed");
    expect(peer.reports.every((report) => report.type === "log" && report.text.length === LIMITS.logChunkBytes / 2)).toBe(true);
  });

  test("closing ends a waiting receive at once, and later calls too", async () => {
    const link = await open();
    const waiting = link.receive().then(() => "orders", () => "ended");
    link.close();
    link.close();
    expect(await waiting).toBe("ended");
    await expect(link.receive()).rejects.toThrow();
    await expect(link.send(batch(1, 1))).rejects.toThrow();
  });
});
