// SSH hosts: added, checked, removed. Credentials go in and never come out.

import type { HostReport } from "../hosts/host-check.js";
import type { SshHostRow } from "../access/ssh-hosts.js";
import { InvalidInputError, TrainyardError } from "../domain/errors.js";
import { Agent } from "./agent.js";
import { HostDeployment } from "./host-deployment.js";
import { builder } from "./builder.js";
import { Conflict, Forbidden, InvalidInput, memberOf, NotFound } from "./domain-error.js";
import { audited } from "./mutation.js";
import { Node, nodeKind } from "./node.js";

const SshCredential = builder.enumType("SshCredential", {
  description: "What an SSH host is logged in with. KEY_FILE: on the control plane's machine. AGENT: the ssh-agent of the control plane's user.",
  values: { KEY: { value: "key" }, KEY_FILE: { value: "key-file" }, PASSWORD: { value: "password" }, AGENT: { value: "agent" } } as const,
});

const HostServer = builder.enumType("HostServer", {
  description: "Who runs programs on a host. SSH: an agent elsewhere that acts for it. AGENT: its own, deployed there.",
  values: { SSH: { value: "ssh" }, AGENT: { value: "agent" } } as const,
});

const SshKeyAlarm = builder.objectRef<{ at: Date; fingerprint: string | null }>("SshKeyAlarm").implement({
  description: "A host showed another key than the one that was confirmed. Nobody connects to it until it is removed and added again.",
  fields: (t) => ({
    at: t.expose("at", { type: "DateTime" }),
    fingerprint: t.exposeString("fingerprint", { nullable: true, description: "Of the key it showed; null when it had none of the confirmed type." }),
  }),
});

export const SshHost = builder.objectRef<SshHostRow>("SshHost");
SshHost.implement({
  description: "A GPU machine reached over SSH. Credentials go in and never come out.",
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString("name", { description: "Also the name of the agent that acts for it." }),
    host: t.exposeString("host"),
    port: t.exposeInt("port"),
    username: t.exposeString("username"),
    credential: t.expose("credential", { type: SshCredential }),
    jump: t.field({ type: SshHost, nullable: true, description: "Connections pass through this one.", resolve: (row, _args, { loaders }) => (row.jump_host_id === null ? null : loaders.sshHost.load(row.jump_host_id)) }),
    workingDirectory: t.exposeString("working_directory"),
    pythonEnvironment: t.exposeString("python_environment", { nullable: true, description: "A venv or conda environment on the host." }),
    commandPrefix: t.exposeStringList("command_prefix", { description: "Words that stand before each program." }),
    environmentNames: t.exposeStringList("environment_names", { description: "Names of the variables that programs get there; values are not shown." }),
    hostKeyFingerprint: t.string({ nullable: true, description: "SHA256:… of the key that an operator accepted; connections to any other key are refused.", resolve: (row) => row.host_key_fingerprint }),
    keyAlarm: t.field({ type: SshKeyAlarm, nullable: true, resolve: (row) => (row.alarm_at === null ? null : { at: row.alarm_at, fingerprint: row.alarm_fingerprint }) }),
    servedBy: t.field({ type: HostServer, description: "Who runs programs there.", resolve: (row) => row.served_by }),
    agent: t.field({ type: Agent, nullable: true, description: "The agent that acts for it, or its own, once it has reported.", resolve: (row, _args, { loaders }) => loaders.sshAgent.load(row.name) }),
    deployment: t.field({ type: HostDeployment, nullable: true, description: "Of an agent of its own: the last order, and what runs there.", resolve: (row, _args, { loaders }) => loaders.deployment.load(row.id) }),
    createdBy: t.exposeString("created_by"),
    createdAt: t.expose("created_at", { type: "DateTime" }),
  }),
});
nodeKind("ssh", (id, { deps }) => deps.sshHosts.find(id));

builder.queryField("sshHosts", (t) => t.field({ type: [SshHost], description: "All SSH hosts, by name.", resolve: (_root, _args, { deps }) => deps.sshHosts.list() }));

const AddSshHostInput = builder.inputType("AddSshHostInput", {
  fields: (t) => ({
    name: t.string({ required: true, description: "Lower-case letters, digits, '.', '_' and '-', up to 100." }),
    host: t.string({ required: true, description: "Host name, address, or a name of ~/.ssh/config of the control plane's user, whose HostName, Port, IdentityFile and ProxyJump then fill in what is left open." }),
    port: t.int({ defaultValue: 22 }),
    username: t.string({ required: true }),
    privateKey: t.string({ description: "PEM; stored encrypted." }),
    privateKeyPath: t.string({ description: "Path of a key on the control plane's machine, instead of privateKey." }),
    passphrase: t.string({ description: "Opens the private key; stored encrypted." }),
    password: t.string({ description: "Stored encrypted." }),
    useSshAgent: t.boolean({ defaultValue: false, description: "Log in with the ssh-agent of the control plane's user." }),
    jump: t.string({ description: "Name of an SSH host that connections pass through; it is added first." }),
    workingDirectory: t.string({ description: "On the host; ~/.trainyard by default." }),
    pythonEnvironment: t.string({ description: "Folder of a venv or conda environment on the host: programs find its bin first." }),
    commandPrefix: t.stringList({ description: "Words that stand before each program, e.g. [\"apptainer\", \"exec\", \"--nv\", \"/images/verl.sif\"]." }),
    environment: t.field({ type: "JSON", description: "Variables of programs there, an object of texts; stored encrypted." }),
    hostKeyFingerprint: t.string({ description: "Accepts exactly this host key; without it the answer is an error that names the key found." }),
  }),
});

const SshHostPayload = builder.objectRef<{ sshHost: SshHostRow }>("SshHostPayload").implement({ fields: (t) => ({ sshHost: t.expose("sshHost", { type: SshHost }) }) });
export const SshHostResult = builder.unionType("SshHostResult", { types: [SshHostPayload, NotFound, InvalidInput, Conflict, Forbidden], resolveType: memberOf("SshHostPayload") });
interface Checked { readonly ok: boolean; readonly report: object }
const SshCheckPayload = builder.objectRef<Checked>("SshCheckPayload").implement({
  fields: (t) => ({
    ok: t.exposeBoolean("ok", { description: "Whether programs can run there." }),
    report: t.field({ type: "JSON", description: "What was found: OS, GPUs, python, verl, free disk; or the reason why not.", resolve: ({ report }) => report }),
  }),
});
const SshCheckResult = builder.unionType("SshCheckResult", { types: [SshCheckPayload, NotFound, Forbidden], resolveType: memberOf("SshCheckPayload") });

builder.mutationField("addSshHost", (t) => t.field({
  type: SshHostResult,
  description: "Adds a host after it showed the confirmed key and let us in; otherwise nothing is stored. Without hostKeyFingerprint the answer is SSH_HOST_KEY_UNKNOWN, naming the key to compare.",
  args: { input: t.arg({ type: AddSshHostInput, required: true }) },
  resolve: audited({
    subject: () => null,
    run: async ({ input }: { input: typeof AddSshHostInput.$inferInput }, { principal, audit }, { deps }) => ({
      sshHost: await deps.sshHosts.add({
        name: input.name, host: input.host, port: input.port ?? 22, username: input.username, privateKey: input.privateKey ?? null, privateKeyPath: input.privateKeyPath ?? null, passphrase: input.passphrase ?? null,
        password: input.password ?? null, useSshAgent: input.useSshAgent ?? false, jump: input.jump ?? null, workingDirectory: input.workingDirectory ?? null, pythonEnvironment: input.pythonEnvironment ?? null,
        commandPrefix: input.commandPrefix ?? [], environment: variablesOf(input.environment), hostKeyFingerprint: input.hostKeyFingerprint ?? null,
      }, principal.name, (trx, id) => audit(trx, id)),
    }),
  }),
}));

function variablesOf(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InvalidInputError("environment must be an object of name → text.", [{ path: "environment", severity: "ERROR", code: "INVALID_FIELD", message: "environment must be an object of name → text.", hint: null }]);
}

builder.mutationField("checkSshHost", (t) => t.field({
  type: SshCheckResult,
  description: "Looks at the host over one connection, in less than 5 s. What does not answer in that time costs its own line only.",
  args: { id: t.arg.id({ required: true }) },
  resolve: audited({
    subject: ({ id }: { id: string }) => id,
    run: async ({ id }, _actor, { deps }): Promise<Checked> => {
      try {
        const report: HostReport = await deps.sshHosts.check(id);
        return { ok: report.ok, report };
      } catch (error) {
        if (!(error instanceof TrainyardError) || error.kind === "NOT_FOUND") throw error;
        return { ok: false, report: { ok: false, lines: [], facts: {}, error: { code: error.code, message: error.message, retryable: error.retryable } } };
      }
    },
  }),
}));

builder.mutationField("removeSshHost", (t) => t.field({
  type: SshHostResult,
  description: "Forgets a host with its credentials. Refused while its agent runs something, or is its own (removeHostAgent comes first). Files on the host stay.",
  args: { id: t.arg.id({ required: true }) },
  resolve: audited({
    subject: ({ id }: { id: string }) => id,
    run: async ({ id }, { audit }, { deps }) => ({ sshHost: await deps.sshHosts.remove(id, (trx) => audit(trx)) }),
  }),
}));
