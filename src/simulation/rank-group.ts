// The ranks of a run meet here: rank 0 listens, the others come, save when they are told and say so. It stands for the process group of torch.
//   G1. A rank whose connection to rank 0 breaks before the end has lost its group and dies, and so has rank 0 when another leaves.

import { connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { ShardOrder } from "./checkpoint-writer.js";
import { TrainerFailure } from "./trainer-failure.js";

/** A path: within one host. */
export type MeetingPlace = { readonly path: string } | { readonly host: string; readonly port: number };

export interface RankGroup {
  /** Resolves when every other rank has written its part. Throws TrainerFailure (G1). */
  save(order: ShardOrder): Promise<void>;
  /** Rejects when a rank leaves before the end (G1). */
  readonly lost: Promise<never>;
  /** Tells the others that the run is over. */
  end(): void;
}

/** How long ranks wait for each other, in milliseconds; torch's is ten minutes too. */
const PATIENCE_MS = 600_000;
const RETRY_MS = 50;

/** Rank 0's side; resolves when `others` ranks are there. */
export async function hostGroup(place: MeetingPlace, others: number): Promise<RankGroup> {
  const sockets: Socket[] = [];
  let ended = false;
  let fail: (error: TrainerFailure) => void = () => undefined;
  const lost = new Promise<never>((_, reject) => { fail = reject; });
  lost.catch(() => undefined);
  const waiting = new Map<Socket, () => void>();
  if (others === 0) return { save: () => Promise.resolve(), lost, end: () => undefined };

  let server: Server | null = null;
  await new Promise<void>((complete, failed) => {
    const late = setTimeout(() => failed(new TrainerFailure("torch.distributed.DistStoreError", `Timed out after ${PATIENCE_MS / 1_000 + 1} seconds waiting for clients. ${sockets.length + 1}/${others + 1} clients joined.`)), PATIENCE_MS);
    server = createServer((socket) => {
      sockets.push(socket);
      createInterface({ input: socket }).on("line", () => waiting.get(socket)?.()).on("error", () => undefined);
      socket.on("error", () => undefined).on("close", () => { if (!ended) fail(new TrainerFailure("RuntimeError", `[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [${socket.remoteAddress ?? "localhost"}]:${socket.remotePort ?? 0}`)); });
      if (sockets.length === others) {
        clearTimeout(late);
        complete();
      }
    }).once("error", failed);
    if ("path" in place) server.listen(place.path);
    else server.listen(place.port);
  });
  (server as Server | null)?.close();
  return {
    lost,
    async save(order) {
      const written = sockets.map((socket) => new Promise<void>((done) => waiting.set(socket, done)));
      for (const socket of sockets) socket.write(`${JSON.stringify(order)}\n`);
      await Promise.race([Promise.all(written), lost]);
    },
    end() {
      ended = true;
      for (const socket of sockets) socket.end("end\n");
    },
  };
}

/** Another rank's side; resolves at the end of the run. Throws TrainerFailure (G1). */
export async function joinGroup(place: MeetingPlace, save: (order: ShardOrder) => Promise<void>): Promise<void> {
  const socket = await reach(place);
  let ended = false;
  for await (const line of createInterface({ input: socket.on("error", () => undefined) })) {
    if (line === "end") {
      ended = true;
      break;
    }
    await save(JSON.parse(line) as ShardOrder);
    socket.write("saved\n");
  }
  socket.destroy();
  if (!ended) throw new TrainerFailure("RuntimeError", "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer");
}

async function reach(place: MeetingPlace): Promise<Socket> {
  for (const until = performance.now() + PATIENCE_MS; ;) {
    const socket = connect(place);
    const reached = await new Promise<boolean>((done) => socket.once("connect", () => done(true)).once("error", () => done(false)));
    if (reached) return socket;
    if (performance.now() > until) throw new TrainerFailure("torch.distributed.DistStoreError", `Timed out after ${PATIENCE_MS / 1_000 + 1} seconds waiting for rank 0.`);
    await delay(RETRY_MS);
  }
}
