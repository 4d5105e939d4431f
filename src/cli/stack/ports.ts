// Ports on the loopback interface.
import { portIfFree } from "../../server/embedded/loopback-port.js";

/** Whether a server could listen there now. */
export function isPortFree(port: number): Promise<boolean> {
  return portIfFree(port).then((found) => found !== null);
}

/** A port that was free a moment ago. */
export async function anyFreePort(): Promise<number> {
  const port = await portIfFree(0);
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
