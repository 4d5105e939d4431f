// An agent of its own on a host that reaches its control plane by HTTPS, with a certificate that no authority of the system knows.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { processesBelow } from "../support/processes.js";
import { sshdIsHere } from "../support/sshd.js";
import { startDeploymentWorld } from "./deployment-world.js";

const openssl = spawnSync("openssl", ["version"]).status === 0;
if (!openssl) console.warn("\nNOT RUN: a deployed agent that speaks HTTPS: no openssl on PATH to make a certificate with\n");

/** HTTPS before an HTTP server, with a certificate of its own. */
async function encrypted(port: number): Promise<{ readonly url: string; readonly certificate: string; accepted(): number }> {
  const folder = mkdtempSync(join(inject("runFolder"), "tls-"));
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=control plane", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], { stdio: "ignore" });
  const certificate = readFileSync(cert, "utf8");
  let accepted = 0;
  const server = createServer({ cert: certificate, key: readFileSync(key) }, (client) => {
    accepted++;
    const behind = connect({ host: "127.0.0.1", port });
    client.pipe(behind).pipe(client);
    for (const [from, to] of [[client, behind], [behind, client]] as const) from.on("error", () => undefined).on("close", () => to.destroy());
  });
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close());
  return { url: `https://localhost:${(server.address() as AddressInfo).port}`, certificate, accepted: () => accepted };
}

describe.skipIf(!sshdIsHere || !openssl)("an agent of its own on a host, by HTTPS", { timeout: 600_000 }, () => {
  test("is refused without the authority and leaves nothing; with it, it runs a stage, outlives a kill, and goes", async () => {
    const world = await startDeploymentWorld();
    onTestFinished(() => world.stop());
    const tls = await encrypted(Number(new URL(world.api.url).port));
    const { id, directory } = await world.addHost("gpu1");
    await world.order("deployHostAgent", { hostId: id, url: tls.url });
    const refused = (await world.ended(id)).deployment!;
    expect(refused.error).toMatchObject({ code: "DEPLOY_URL_UNREACHABLE", message: expect.stringMatching(/certificate.*--ca/is) as string });
    expect(processesBelow(directory)).toEqual([]);
    expect(existsSync(join(directory, "agent", "current"))).toBe(false);

    expect(await world.order("deployHostAgent", { hostId: id, url: tls.url, caCertificate: tls.certificate })).not.toHaveProperty("code");
    expect(await world.ended(id)).toMatchObject({ servedBy: "AGENT", agent: { status: "ONLINE" }, deployment: { state: "DEPLOYED", error: null } });
    expect(JSON.parse(readFileSync(join(directory, "agent/config.json"), "utf8"))).toMatchObject({ environment: { TRAINYARD_URL: tls.url, TRAINYARD_CA_FILE: join(directory, "agent/ca.pem") } });
    const before = tls.accepted();
    expect(before).toBeGreaterThan(0);
    process.kill((JSON.parse(readFileSync(join(directory, "agent/run/agent.json"), "utf8")) as { pid: number }).pid, "SIGKILL");

    const { submitPipeline } = await world.api.data("mutation S($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { code message } } }", { spec: { name: "one", stages: [{ name: "one", kind: "command", params: { run: ["echo", "over TLS"] } }] } });
    const stage = async (): Promise<{ status: string; logs: { text: string } }> => (await world.api.data("query P($id: ID!) { pipeline(id: $id) { stages { status logs { text } } } }", { id: submitPipeline.pipeline.id })).pipeline.stages[0];
    expect(await pollUntil(async () => (await stage()).status === "COMPLETED", 120_000)).toBe(true);
    expect((await stage()).logs.text).toBe("over TLS\n");
    expect(tls.accepted()).toBeGreaterThan(before);

    await world.order("removeHostAgent", { hostId: id });
    expect((await world.ended(id)).deployment).toMatchObject({ state: "REMOVED" });
    expect(existsSync(join(directory, "agent"))).toBe(false);
    expect(processesBelow(directory)).toEqual([]);
  });
});
