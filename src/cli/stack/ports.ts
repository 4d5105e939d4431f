// Ports on the loopback interface.
import { createServer } from "node:net";

/** Whether a server could listen there now. */
export function isPortFree(port: number): Promise<boolean> {
  return tryListen(port).then((found) => found !== null);
}

/** A port that was free a moment ago. */
export async function anyFreePort(): Promise<number> {
  const port = await tryListen(0);
  if (port === null) throw new Error("no port can be opened on 127.0.0.1");
  return port;
}

/** Waits until the port is free, at most so long: a process of the last start may be on its way out. */
export async function becomesFree(port: number, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (!(await isPortFree(port))) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}

function tryListen(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(null));
    probe.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}
