// A control plane that carries orders for hosts out, a real sshd, and an installation of its own to deploy from, which tests may change.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import type { HostDeploymentsOptions } from "../../src/access/host-deployments.js";
import { buildCommandLine } from "../support/built-cli.js";
import { startApi, type Api } from "../schema/api-world.js";
import { startSshd, type OwnSshd } from "../support/sshd.js";
import { killAll, processesBelow } from "../support/processes.js";

const DEPLOYMENT = "servedBy agent { status } deployment { state release version supervision runningSince steps { name state detail bytesDone bytesTotal etaSeconds } error { code message } notes }";

export interface Deployment {
  readonly state: string;
  readonly release: string | null;
  readonly version: string | null;
  readonly supervision: string | null;
  readonly steps: readonly { readonly name: string; readonly state: string; readonly detail: string | null; readonly bytesDone: number | null; readonly bytesTotal: number | null; readonly etaSeconds: number | null }[];
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly notes: readonly string[];
}
export interface HostState { readonly id: string; readonly servedBy: string; readonly agent: { readonly status: string } | null; readonly deployment: Deployment | null }

export interface DeploymentWorld {
  readonly api: Api;
  readonly sshd: OwnSshd;
  /** What is deployed from; a new version makes another release. */
  readonly root: string;
  setVersion(version: string): void;
  /** Adds the host; its working directory is `<sshd.folder>/<name>`. */
  addHost(name: string, changes?: Record<string, unknown>): Promise<{ readonly id: string; readonly directory: string }>;
  state(id: string): Promise<HostState>;
  /** Gives the order; the answer of the mutation. */
  order(mutation: "deployHostAgent" | "removeHostAgent", input: Record<string, unknown>): Promise<{ code?: string; message?: string; problems?: { path: string }[] }>;
  /** Waits for the end of the order. */
  ended(id: string): Promise<HostState>;
  /** Ends what is left on the hosts: agents first, then everything. */
  stop(): Promise<void>;
}

/** Who keeps agents running on this machine: a unit where systemd serves this user and lets it linger. */
export function supervisionHere(): "SYSTEMD" | "SUPERVISED" {
  const { username } = userInfo();
  const runtime = process.env["XDG_RUNTIME_DIR"] ?? `/run/user/${process.getuid!()}`;
  const asked = spawnSync("systemctl", ["--user", "show", "--property=Version"], { encoding: "utf8", env: { ...process.env, XDG_RUNTIME_DIR: runtime } });
  const lingers = existsSync(`/var/lib/systemd/linger/${username}`) || spawnSync("loginctl", ["show-user", username, "--property=Linger"], { encoding: "utf8" }).stdout === "Linger=yes\n";
  const here = asked.status === 0 && lingers ? "SYSTEMD" : "SUPERVISED";
  if (here === "SUPERVISED") console.warn("NOT RUN: a deployed agent as a systemd user unit, because systemd does not serve this user here, or does not let it linger. A supervising process is tested instead.");
  return here;
}

export async function startDeploymentWorld(options: Partial<HostDeploymentsOptions> = {}): Promise<DeploymentWorld> {
  await buildCommandLine();
  const root = mkdtempSync(join(tmpdir(), "ty-root-"));
  for (const path of ["package.json", "LICENSE", "dist", "src/verl/python", "src/verl/keys"]) cpSync(packagePath(path), join(root, path), { recursive: true });
  symlinkSync(packagePath("node_modules"), join(root, "node_modules"));
  const sshd = await startSshd();
  const api = await startApi({ deployments: { packageRoot: root, archives: join(inject("runFolder"), "host-archives"), ...options } });
  const state = async (id: string): Promise<HostState> => (await api.data(`query Q($id: ID!) { node(id: $id) { ... on SshHost { id ${DEPLOYMENT} } } }`, { id })).node;
  const world: DeploymentWorld = {
    api, sshd, root, state,
    setVersion(version) {
      const file = join(root, "package.json");
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), version }));
    },
    async addHost(name, changes = {}) {
      const directory = join(sshd.folder, name);
      const input = { name, host: "127.0.0.1", port: sshd.port, username: sshd.access().username, privateKey: sshd.privateKey, hostKeyFingerprint: sshd.hostKey.fingerprint, workingDirectory: directory, ...changes };
      const { addSshHost } = await api.data("mutation A($input: AddSshHostInput!) { addSshHost(input: $input) { ... on SshHostPayload { sshHost { id } } ... on DomainError { code message } } }", { input });
      if (addSshHost.sshHost === undefined) throw new Error(JSON.stringify(addSshHost));
      return { id: addSshHost.sshHost.id, directory };
    },
    async order(mutation, input) {
      const type = mutation === "deployHostAgent" ? "DeployHostAgentInput" : "RemoveHostAgentInput";
      return (await api.data(`mutation O($input: ${type}!) { ${mutation}(input: $input) { ... on SshHostPayload { sshHost { id } } ... on DomainError { code message } ... on InvalidInputError { problems { path message } } } }`, { input }))[mutation];
    },
    async ended(id) {
      let last = await state(id);
      const over = await pollUntil(async () => !["DEPLOYING", "REMOVING"].includes((last = await state(id)).deployment?.state ?? ""), 400_000);
      if (!over) throw new Error(`the order did not end: ${JSON.stringify(last)}`);
      return last;
    },
    async stop() {
      await api.stop();
      await killAll(() => processesBelow(sshd.folder));
      await sshd.stop();
      rmSync(root, { recursive: true, force: true });
    },
  };
  return world;
}
