import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";
import { startApi, type Api } from "./api-world.js";

const ADD = `mutation Add($input: AddSshHostInput!) { addSshHost(input: $input) {
  ... on SshHostPayload { sshHost { id name host port username credential workingDirectory pythonEnvironment commandPrefix environmentNames hostKeyFingerprint jump { name } agent { id } keyAlarm { fingerprint } } }
  ... on DomainError { __typename code message retryable } ... on InvalidInputError { problems { path message } } } }`;
const CHECK = "mutation Check($id: ID!) { checkSshHost(id: $id) { ... on SshCheckPayload { ok report } ... on DomainError { __typename code } } }";
const REMOVE = "mutation Remove($id: ID!) { removeSshHost(id: $id) { ... on SshHostPayload { sshHost { id } } ... on DomainError { __typename code message } } }";

describe.skipIf(!sshdIsHere)("SSH hosts", () => {
  let api: Api;
  let sshd: OwnSshd;
  beforeAll(async () => {
    api = await startApi();
    sshd = await startSshd();
  });
  afterAll(async () => {
    await sshd.stop();
    await api.stop();
  });
  const input = (changes: Record<string, unknown> = {}) => ({ name: `h-${randomBytes(4).toString("hex")}`, host: "127.0.0.1", port: sshd.port, username: sshd.access().username, privateKey: sshd.privateKey, hostKeyFingerprint: sshd.hostKey.fingerprint, ...changes });
  const add = async (changes: Record<string, unknown> = {}) => (await api.data(ADD, { input: input(changes) })).addSshHost;
  const count = async () => (await api.data("{ sshHosts { id } }")).sshHosts.length as number;

  test("first contact answers with the key to confirm and stores nothing; with it the host is added, checked and removed", async () => {
    const before = await count();
    expect(await add({ hostKeyFingerprint: null })).toMatchObject({ __typename: "ConflictError", code: "SSH_HOST_KEY_UNKNOWN", message: expect.stringContaining(sshd.hostKey.fingerprint) });
    expect(await count()).toBe(before);
    const { sshHost } = await add({ workingDirectory: join(sshd.folder, "work"), environment: { HF_TOKEN: "hf_very_secret" }, commandPrefix: ["nice", "-n5"] });
    expect(sshHost).toMatchObject({ credential: "KEY", environmentNames: ["HF_TOKEN"], commandPrefix: ["nice", "-n5"], hostKeyFingerprint: sshd.hostKey.fingerprint, agent: null, keyAlarm: null });
    expect((await api.data("query Q($id: ID!) { node(id: $id) { ... on SshHost { name } } }", { id: sshHost.id })).node.name).toBe(sshHost.name);
    const { checkSshHost } = await api.data(CHECK, { id: sshHost.id });
    expect(checkSshHost).toMatchObject({ ok: true, report: { facts: { os: expect.stringContaining("Linux") } } });
    expect((await api.data(REMOVE, { id: sshHost.id })).removeSshHost.sshHost.id).toBe(sshHost.id);
    expect((await api.data(CHECK, { id: sshHost.id })).checkSshHost).toMatchObject({ __typename: "NotFoundError" });
  }, 40_000);

  test("a host with an agent of its own is not forgotten before that is removed: nobody could reach it any more", async () => {
    const { sshHost } = await add();
    expect((await api.data("{ sshHosts { id servedBy } }")).sshHosts.find(({ id }: { id: string }) => id === sshHost.id).servedBy).toBe("SSH");
    const { db } = api.world.database;
    await db.insertInto("host_deployments").values({ host_id: sshHost.id, kind: "DEPLOY", parameters: "{}", state: "DONE", ordered_by: "test", ordered_at: new Date(), steps: "[]" }).execute();
    expect((await api.data(REMOVE, { id: sshHost.id })).removeSshHost).toMatchObject({ code: "SSH_HOST_IN_USE", message: expect.stringContaining("--remove") });
    await db.deleteFrom("host_deployments").where("host_id", "=", sshHost.id).execute();
    expect((await api.data(REMOVE, { id: sshHost.id })).removeSshHost.sshHost.id).toBe(sshHost.id);
  }, 40_000);

  test("a pin of any key type the host has is taken, and that type is asked for from then on", async () => {
    const rsa = readFileSync(join(sshd.folder, "host_rsa.pub"), "utf8").split(" ")[1]!;
    const { hostKeyOf } = await import("../../src/hosts/host-key.js");
    const fingerprint = hostKeyOf(Buffer.from(rsa, "base64")).fingerprint;
    const { sshHost } = await add({ hostKeyFingerprint: fingerprint });
    expect(sshHost.hostKeyFingerprint).toBe(fingerprint);
    expect((await api.data(CHECK, { id: sshHost.id })).checkSshHost.ok).toBe(true);
  }, 40_000);

  test("credentials and variables are nowhere: not in the database, the audit trail or any answer", async () => {
    const secret = `very-secret-${randomBytes(6).toString("hex")}`;
    const closed = sshd.makeKey("ed25519", { passphrase: secret });
    const answer = await add({ privateKey: closed.privateKey, passphrase: secret, environment: { TOKEN: secret } });
    const keyBody = closed.privateKey.split("\n")[1]!;
    await add({ password: secret, privateKey: null });
    const { db } = api.world.database;
    const stored = JSON.stringify([await db.selectFrom("ssh_hosts").selectAll().execute(), await db.selectFrom("audit").selectAll().execute(), answer, await api.data("{ sshHosts { id name environmentNames } }")]);
    expect(stored).toContain(answer.sshHost.name);
    expect(stored).not.toContain(secret);
    expect(stored).not.toContain(keyBody);
  }, 40_000);

  test("what cannot be meant is refused at its place before anything is connected", async () => {
    const tries = sshd.log().split("Connection from").length;
    const problems = async (changes: Record<string, unknown>) => ((await add(changes)).problems ?? []).map((problem: { path: string }) => problem.path);
    expect(await problems({ name: "No Such Name", host: "a b", username: "-oProxyCommand=x", port: 0 })).toEqual(["name", "host", "port", "username"]);
    expect(await problems({ password: "x" })).toEqual(["password"]);
    expect(await problems({ privateKey: null })).toEqual(["privateKey"]);
    expect(await problems({ workingDirectory: "~/a;touch x", pythonEnvironment: "$(id)", environment: { "A B": "1", LD_PRELOAD: "x", OK: "1", TRAINYARD_URL: "x", TRAINYARD_AGENT_SHARED_DIR: "here", TRAINYARD_AGENT_ADDRESS: "10.0.0.7", TRAINYARD_AGENT_CPUS: "0" }, hostKeyFingerprint: "MD5:x" })).toEqual(["workingDirectory", "pythonEnvironment", "environment.A B", "environment.LD_PRELOAD", "environment.TRAINYARD_URL", "environment.TRAINYARD_AGENT_SHARED_DIR", "environment.TRAINYARD_AGENT_CPUS", "hostKeyFingerprint"]);
    expect(await problems({ environment: { TRAINYARD_AGENT_ADDRESS: "10.0.0.7 --x" } })).toEqual(["environment.TRAINYARD_AGENT_ADDRESS"]);
    expect(await problems({ environment: { TRAINYARD_AGENT_ADDRESS: "" } })).toEqual(["environment.TRAINYARD_AGENT_ADDRESS"]);
    expect(await problems({ jump: "nobody" })).toEqual(["jump"]);
    expect(await problems({ useSshAgent: true, privateKey: null })).toEqual(["useSshAgent"]);
    expect(sshd.log().split("Connection from").length).toBe(tries);
  });

  test("a host that does not let us in, is away, or has another key is not stored, and the error says which", async () => {
    const before = await count();
    expect(await add({ privateKey: null, password: "wrong" })).toMatchObject({ code: "SSH_AUTH_REFUSED" });
    expect(await add({ port: 1 })).toMatchObject({ code: "SSH_UNREACHABLE", retryable: true });
    expect(await add({ hostKeyFingerprint: `SHA256:${"A".repeat(43)}` })).toMatchObject({ code: "SSH_HOST_KEY_CHANGED", message: expect.stringContaining(sshd.hostKey.fingerprint) });
    expect(await count()).toBe(before);
  }, 40_000);

  test("a changed key raises an alarm that stays: later checks are refused without a connection", async () => {
    const own = await startSshd();
    try {
      const { sshHost } = await add({ port: own.port, privateKey: own.privateKey, hostKeyFingerprint: own.hostKey.fingerprint });
      await own.kill();
      own.changeHostKeys();
      await own.start();
      expect((await api.data(CHECK, { id: sshHost.id })).checkSshHost).toMatchObject({ ok: false, report: { error: { code: "SSH_HOST_KEY_CHANGED" } } });
      const tries = own.log().split("Connection from").length;
      expect((await api.data(CHECK, { id: sshHost.id })).checkSshHost).toMatchObject({ ok: false, report: { error: { code: "SSH_HOST_KEY_CHANGED" } } });
      expect(own.log().split("Connection from").length).toBe(tries);
      const { node } = await api.data("query Q($id: ID!) { node(id: $id) { ... on SshHost { keyAlarm { fingerprint } } } }", { id: sshHost.id });
      expect(node.keyAlarm.fingerprint).toBe(own.hostKey.fingerprint);
    } finally {
      await own.stop();
    }
  }, 40_000);

  test("a jump host is another added host, from the input or from ProxyJump, and cannot be removed while it is used", async () => {
    const { sshHost: bastion } = await add();
    const { sshHost: inner } = await add({ jump: bastion.name });
    expect(inner.jump.name).toBe(bastion.name);
    expect((await api.data(CHECK, { id: inner.id })).checkSshHost.ok).toBe(true);
    expect((await api.data(REMOVE, { id: bastion.id })).removeSshHost).toMatchObject({ code: "SSH_HOST_IN_USE", message: expect.stringContaining(inner.name) });
    mkdirSync(join(api.folder, ".ssh"), { recursive: true });
    writeFileSync(join(sshd.folder, "id"), sshd.privateKey, { mode: 0o600 });
    writeFileSync(join(api.folder, ".ssh", "config"), `Host trainer\n  HostName 127.0.0.1\n  Port ${sshd.port}\n  IdentityFile ${join(sshd.folder, "id")}\n  ProxyJump someone@${bastion.name}:22\n`);
    const { sshHost: named } = await add({ host: "trainer", port: 22, privateKey: null });
    expect(named).toMatchObject({ host: "127.0.0.1", port: sshd.port, credential: "KEY_FILE", jump: { name: bastion.name } });
  }, 40_000);

  test("a viewer sees hosts and may not touch them; an operator may check", async () => {
    const { sshHost } = await add();
    expect((await api.ask("viewer", "{ sshHosts { name } }")).errors).toBeUndefined();
    expect((await api.ask("operator", ADD, { input: input() })).data.addSshHost).toMatchObject({ __typename: "ForbiddenError" });
    expect((await api.ask("viewer", CHECK, { id: sshHost.id })).data.checkSshHost).toMatchObject({ __typename: "ForbiddenError" });
    expect((await api.ask("operator", CHECK, { id: sshHost.id })).data.checkSshHost.ok).toBe(true);
  }, 40_000);
});
