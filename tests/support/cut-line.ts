// A TCP line that counts what passes and can be cut: at once, or when so many bytes have passed, or without a word to either end. Whoever connects afterwards gets through again.

import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface CutLine {
  readonly port: number;
  /** Bytes that passed from the client to the server, and back. */
  readonly up: number;
  readonly down: number;
  /** Cuts that happened. */
  readonly cuts: number;
  /** Closes all connections. */
  cut(): void;
  /** From now on what the connections of now carry is lost, and neither end is told: a network that is gone. Resolves when both ends have given all of them up. */
  silence(): Promise<void>;
  /** Cuts all connections once so many more bytes have passed in both directions together. */
  cutAfter(bytes: number): void;
  stop(): Promise<void>;
}

export async function startCutLine(targetPort: number): Promise<CutLine> {
  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  let [up, down, cuts, cutAt] = [0, 0, 0, Number.POSITIVE_INFINITY];
  const cut = (): void => {
    cutAt = Number.POSITIVE_INFINITY;
    cuts++;
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    const upstream = connect({ host: "127.0.0.1", port: targetPort, noDelay: true });
    client.setNoDelay(true);
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from);
      from.on("data", (data: Buffer) => {
        if (silent.has(from)) return;
        if (from === client) up += data.length;
        else down += data.length;
        if (up + down >= cutAt) return cut();
        if (!to.write(data)) from.pause();
      });
      to.on("drain", () => from.resume());
      from.on("error", () => undefined).on("close", () => {
        sockets.delete(from);
        silent.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get up() { return up; },
    get down() { return down; },
    get cuts() { return cuts; },
    cut,
    async silence() {
      cuts++;
      await Promise.all([...sockets].map((socket) => {
        silent.add(socket);
        socket.resume();
        return new Promise((gone) => socket.once("close", gone));
      }));
    },
    cutAfter(bytes) { cutAt = up + down + bytes; },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
