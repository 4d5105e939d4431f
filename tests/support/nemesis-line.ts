// A line between an agent and its control plane that can be cut and mended.

import { connect, createServer, type Socket } from "node:net";

export interface Line {
  /** The control plane by way of this line. */
  readonly url: string;
  /** Ends every connection at once; nobody gets through. */
  cut(): void;
  mend(): void;
  stop(): Promise<void>;
}

/** A line to the server that this URL names. */
export async function startLine(to: string): Promise<Line> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  let whole = true;
  const end = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    if (!whole) return void client.destroy();
    const upstream = connect({ host: hostname, port: Number(port) });
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy()).on("close", () => { sockets.delete(socket); other.destroy(); });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    cut() {
      whole = false;
      end();
    },
    mend() { whole = true; },
    async stop() {
      end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
