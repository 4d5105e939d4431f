// A plain ws server that sends one ready frame to everybody, as often as it is told: {rate, seconds} → how many frames. The limit that fan-out is measured against.

import type { AddressInfo } from "node:net";
import WebSocket, { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
/** As long as the frames of the API in this benchmark, some 250 bytes. */
const PAD = "x".repeat(200);

async function broadcast(rate: number, seconds: number): Promise<number> {
  const begun = performance.now();
  let sent = 0;
  while (sent < rate * seconds) {
    const wait = begun + (sent * 1_000) / rate - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    else await new Promise(setImmediate);
    const frame = Buffer.from(JSON.stringify({ at: new Date().toISOString(), pad: PAD }));
    for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send(frame, { binary: false });
    sent++;
  }
  return sent;
}

process.on("message", ({ rate, seconds }: { rate: number; seconds: number }) => void broadcast(rate, seconds).then((sent) => process.send!(sent)));
process.on("disconnect", () => process.exit(0));
server.on("listening", () => process.send!({ url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` }));
