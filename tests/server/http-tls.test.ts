import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import WebSocket from "ws";
import { createHttpServer } from "../../src/server/http.js";
import { createMetrics } from "../../src/server/prometheus.js";
import { startApi } from "../schema/api-world.js";
import { silent } from "../support/world.js";

const openssl = spawnSync("openssl", ["version"]).status === 0;
if (!openssl) console.warn("\nNOT RUN: the server's own TLS: no openssl on PATH to make a certificate with\n");

test.skipIf(!openssl)("with a certificate the server speaks HTTPS and WSS itself, and its address says so", async () => {
  const folder = mkdtempSync(join(inject("runFolder"), "tls-"));
  const cert = join(folder, "cert.pem"), key = join(folder, "key.pem");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], { stdio: "ignore" });
  const api = await startApi();
  const server = createHttpServer({
    graphql: api.graphql, readiness: async () => ({ ready: true, problems: [] }), metrics: createMetrics(), log: silent,
    config: { TRAINYARD_HOST: "127.0.0.1", TRAINYARD_PORT: 0, TRAINYARD_BODY_LIMIT_BYTES: 1_048_576, TRAINYARD_PUBLIC_URL: undefined, TRAINYARD_TLS_CERT: cert, TRAINYARD_TLS_KEY: key },
  });
  const { url, wsUrl } = await server.listen();
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+\/graphql$/);
  expect(wsUrl).toMatch(/^wss:/);
  const ca = readFileSync(cert);
  const status = await new Promise<number>((resolve, reject) => request(new URL("/readyz", url), { ca }, (response) => resolve(response.statusCode!)).on("error", reject).end());
  expect(status).toBe(200);
  const ack = await new Promise<string>((resolve, reject) => {
    const socket = new WebSocket(wsUrl, "graphql-transport-ws", { ca });
    socket.on("open", () => socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${api.tokens.viewer}` } })));
    socket.on("message", (data) => { resolve(String(data)); socket.close(); }).on("error", reject);
  });
  expect(JSON.parse(ack)).toEqual({ type: "connection_ack" });
  await server.close();
  await server.close(); // twice is fine
  await api.stop();
});
