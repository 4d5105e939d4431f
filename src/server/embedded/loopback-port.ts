// Looking for a port on the loopback interface by listening there for a moment. Another program may take it right after.
import { createServer } from "node:net";

/** The port if a server could listen on it now (any free one for 0); null when it could not. */
export function portIfFree(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(null));
    probe.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}
