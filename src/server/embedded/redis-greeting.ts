// One question to a Redis that may be starting, foreign, frozen or gone. Two inline commands over a bare socket: no client, no reconnecting.
import { connect } from "node:net";

/** Silence after which a server counts as frozen, in milliseconds. */
const ANSWER_TIMEOUT_MS = 2_000;

export type RedisAnswer = "ready" | "loading" | "refused" | "silent";

/** "refused": it wants another password. "silent": nobody listens, or nobody answers in time. Never rejects. */
export function askRedis(port: number, password: string): Promise<RedisAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let heard = "";
    const end = (answer: RedisAnswer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => end("silent"));
    socket.once("error", () => end("silent"));
    socket.once("close", () => end("silent"));
    socket.once("connect", () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      if (!heard.includes("\r\n")) return;
      if (/^-(WRONGPASS|NOAUTH|ERR)/.test(heard)) return end("refused");
      if (/^-LOADING|\r\n-LOADING/.test(heard)) return end("loading");
      if (heard.endsWith("+PONG\r\n")) return end("ready");
      if (heard.split("\r\n").length > 2) end("refused");
    });
  });
}
