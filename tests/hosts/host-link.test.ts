import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { mirrorFiles } from "../../src/hosts/file-mirror.js";
import { openHostLink, retryDelayMs, type HostLink } from "../../src/hosts/host-link.js";
import { SshError } from "../../src/hosts/ssh-error.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";

test("waits double up to half a minute with chance in them; what does not pass by itself is tried once a minute", () => {
  const lost = new SshError("SSH_CONNECTION_LOST", "h", "");
  expect([0, 1, 2, 30].map((n) => retryDelayMs(n, lost, 0.5))).toEqual([250, 500, 1_000, 30_000]);
  expect([retryDelayMs(3, lost, 0), retryDelayMs(3, lost, 1)]).toEqual([1_000, 3_000]);
  expect(retryDelayMs(0, new SshError("SSH_AUTH_REFUSED", "h", ""), 0.5)).toBe(60_000);
});

/** Cuts of the line in one run; each costs a login. */
const CUTS = process.env["TRAINYARD_CHAOS"] === "full" ? 50 : 10;

describe.skipIf(!sshdIsHere)("a link to a host", () => {
  const open: HostLink[] = [];
  const servers: OwnSshd[] = [];
  afterEach(async () => {
    for (const link of open.splice(0)) link.close();
    for (const sshd of servers.splice(0)) await sshd.stop();
  });
  const start = async () => {
    const sshd = await startSshd();
    servers.push(sshd);
    const alarms: SshError[] = [];
    const access = sshd.access();
    const link = openHostLink({ name: "gpu1", access: async () => access, directory: join(sshd.folder, "work"), pythonEnvironment: null, alarmed: (error) => alarms.push(error) });
    open.push(link);
    return { sshd, link, alarms };
  };

  test("over cuts at any moment no byte of a program's files is lost or doubled, and it was started once", async () => {
    const { sshd, link } = await start();
    const root = join(sshd.folder, "work");
    const here = join(sshd.folder, "here");
    mkdirSync(here);
    const helper = await link.helper();
    const script = "import os,time\nfor i in range(10**9):\n  print('line %d é' % i, flush=True)\n  open('../metrics','a').write('{\"step\": %d}\\n' % i)\n  if os.path.exists('enough'): break\n  time.sleep(0.01)";
    const files = { root: join(root, "run"), owner: "att_test", launch: join(root, "launch"), exit: join(root, "exit") };
    await helper.attempts.start({ argv: ["python3", "-c", script], environment: {}, inherit: ["PATH"], pathFirst: null, make: [join(root, "run")], workingDirectory: join(root, "run"), ...files, stdout: join(root, "log"), stderr: join(root, "log") });
    const failures: Error[] = [];
    const names = ["log", "metrics", "launch"];
    const mirror = mirrorFiles(link, names.map((name) => ({ remote: join(root, name), local: join(here, name) })), (error) => failures.push(error));
    let cuts = 0;
    while (cuts < CUTS) {
      await link.helper();
      await new Promise((soon) => setTimeout(soon, Math.random() * 120)); // chance: the moment of the cut
      if (sshd.cutSessions() > 0) cuts++;
    }
    writeFileSync(join(root, "run", "enough"), "");
    await expect.poll(async () => (await link.helper()).attempts.state(files).then(({ status }) => status, () => null), { timeout: 20_000 }).toBe(0);
    await mirror.caughtUp();
    expect(failures).toEqual([]);
    for (const name of names) expect(readFileSync(join(here, name)).equals(readFileSync(join(root, name))), name).toBe(true);
    const lines = readFileSync(join(here, "log"), "utf8").trimEnd().split("\n");
    expect(lines).toEqual(lines.map((_, i) => `line ${i} é`));
  }, 240_000);

  test("a copy that was begun by an earlier process goes on where it ended, and follows truncation", async () => {
    const { sshd, link } = await start();
    const [remote, local] = [join(sshd.folder, "remote"), join(sshd.folder, "local")];
    writeFileSync(remote, "0123456789");
    writeFileSync(local, "01234");
    const mirror = mirrorFiles(link, [{ remote, local }, { remote: join(sshd.folder, "none"), local: join(sshd.folder, "none-here") }], (error) => { throw error; });
    await mirror.caughtUp();
    expect(readFileSync(local, "utf8")).toBe("0123456789");
    expect(existsSync(join(sshd.folder, "none-here"))).toBe(false);
    truncateSync(remote, 0);
    await expect.poll(() => statSync(local).size, { timeout: 10_000 }).toBe(0);
  });

  test("sshd that is restarted is found again; a changed key ends the link for good with one alarm", async () => {
    const { sshd, link, alarms } = await start();
    await link.helper();
    await sshd.kill();
    await expect.poll(() => link.trouble()?.message, { timeout: 10_000 }).toBeTruthy();
    await sshd.start();
    await (await link.helper()).attempts.state({ root: "/none", owner: "att_test", launch: "/none", exit: "/none" });
    await sshd.kill();
    sshd.changeHostKeys();
    await sshd.start();
    await expect.poll(() => alarms.length, { timeout: 20_000 }).toBe(1);
    await expect(link.helper()).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED" });
    expect(alarms).toMatchObject([{ code: "SSH_HOST_KEY_CHANGED" }]);
  }, 60_000);

  test("who waits for a host that is away is let go when the link is closed, and nothing is tried any more", async () => {
    const { sshd, link } = await start();
    await link.helper();
    await sshd.kill();
    await expect.poll(() => link.trouble() !== null, { timeout: 10_000 }).toBe(true);
    const waiting = link.helper();
    link.close();
    await expect(waiting).rejects.toMatchObject({ code: "SSH_CONNECTION_LOST" });
  });
});
