// `trainyard host …` against a real server and a real sshd.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";
import { startUp, type Up } from "./support.js";

describe.skipIf(!sshdIsHere)("host", { timeout: 60_000 }, () => {
  let up: Up;
  let sshd: OwnSshd;
  let end = async () => undefined as void;
  let target: string;
  let key: string;
  beforeAll(async () => {
    sshd = await startSshd();
    target = `${sshd.access().username}@127.0.0.1:${sshd.port}`;
    key = join(sshd.folder, "id");
    writeFileSync(key, sshd.privateKey, { mode: 0o600 });
    up = await startUp({ atEnd: (given) => void (end = given) });
  }, 60_000);
  afterAll(async () => {
    await end();
    await sshd.stop();
  });

  test("add names the key to confirm; with --fingerprint the machine is added and looked at; ls, check, shell-hint and rm follow", async () => {
    const asked = await up.cli("host", "add", "gpu1", target, "--key", key);
    expect(asked).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(`--fingerprint ${sshd.hostKey.fingerprint}`) });
    const added = await up.cli("host", "add", "gpu1", target, "--key", key, "--fingerprint", sshd.hostKey.fingerprint, "--dir", join(sshd.folder, "work"));
    expect(added).toMatchObject({ code: 0, stdout: expect.stringMatching(/✓ operating system .*Linux/) });
    const listed = await up.cli("host", "ls", "--json");
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: "gpu1", credential: "KEY", port: sshd.port }]);
    expect(listed.stdout).not.toContain("PRIVATE KEY");
    const checked = JSON.parse((await up.cli("host", "check", "gpu1", "--json")).stdout);
    expect(checked).toMatchObject({ ok: true, facts: { python: { version: expect.stringMatching(/^3\./) } } });
    expect((await up.cli("host", "shell-hint", "gpu1")).stdout).toBe(`ssh -t -p ${sshd.port} ${sshd.access().username}@127.0.0.1 'cd ${join(sshd.folder, "work")} && exec "\${SHELL:-/bin/sh}" -l'\n`);
    await sshd.kill();
    expect(await up.cli("host", "check", "gpu1")).toMatchObject({ code: 1, stdout: expect.stringContaining("SSH_UNREACHABLE") });
    await sshd.start();
    expect(await up.cli("host", "rm", "gpu1")).toMatchObject({ code: 2 });
    expect(await up.cli("host", "rm", "gpu1", "--yes")).toMatchObject({ code: 0 });
    expect(await up.cli("host", "check", "gpu1")).toMatchObject({ code: 5, stderr: expect.stringContaining("There is no SSH host") });
  });

  test("deploy brings an agent of its own and follows that to its end; ls shows it, rm waits for its removal", async () => {
    const directory = join(sshd.folder, "own");
    expect(await up.cli("host", "add", "own1", target, "--key", key, "--fingerprint", sshd.hostKey.fingerprint, "--dir", directory, "--no-check")).toMatchObject({ code: 0 });
    expect(await up.cli("host", "deploy", "own1", "--now")).toMatchObject({ code: 2, stderr: expect.stringContaining("--remove") });
    const unreachable = await up.cli("host", "deploy", "own1", "--agent-url", "http://127.0.0.1:9");
    expect(unreachable).toMatchObject({ code: 1, stderr: expect.stringMatching(/✗ reach the control plane from there[^]*DEPLOY_URL_UNREACHABLE/) });
    const deployed = await up.cli("host", "deploy", "own1", "--labels", "place=own");
    expect(deployed).toMatchObject({ code: 0, stderr: expect.stringMatching(/✓ look at the host[^]*✓ start the agent[^]*own1 has an agent of its own: trainyard [\d.]+, online/) });
    expect(await up.cli("agents", "show", "own1", "--json")).toMatchObject({ code: 0, stdout: expect.stringContaining('"place"') });
    expect((await up.cli("host", "ls")).stdout).toMatch(/own1 .*ONLINE .*(supervised|systemd unit)/);
    expect(await up.cli("host", "rm", "own1", "--yes")).toMatchObject({ code: 1, stderr: expect.stringContaining("--remove") });
    expect(await up.cli("host", "deploy", "own1", "--remove")).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    expect(await up.cli("host", "deploy", "own1", "--remove", "--yes")).toMatchObject({ code: 0, stderr: expect.stringContaining("is gone") });
    expect(existsSync(join(directory, "agent"))).toBe(false);
    expect(await up.cli("host", "rm", "own1", "--yes")).toMatchObject({ code: 0 });
  }, 240_000);

  test("what cannot be used is refused in words", async () => {
    expect(await up.cli("host", "add", "gpu2", "127.0.0.1", "--key", key)).toMatchObject({ code: 2, stderr: expect.stringContaining("user@host") });
    expect(await up.cli("host", "add", "gpu2", target, "--key", "/nowhere")).toMatchObject({ code: 2, stderr: expect.stringContaining("cannot be read") });
    expect(await up.cli("host", "add", "Gpu 2", target, "--key", key)).toMatchObject({ code: 2, stderr: expect.stringContaining("name") });
  });
});
