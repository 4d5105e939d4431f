// Orders for agents of their own on SSH hosts. The control plane carries them out, long after the answer; SshHost.deployment says how far it is.

import type { SshHostRow } from "../access/ssh-hosts.js";
import { builder } from "./builder.js";
import { audited } from "./mutation.js";
import { SshHostResult } from "./ssh-host.js";

const DeployHostAgentInput = builder.inputType("DeployHostAgentInput", {
  description: "What is left open is as it was for the agent that runs there.",
  fields: (t) => ({
    hostId: t.id({ required: true }),
    url: t.string({ description: "How the host reaches the control plane; TRAINYARD_PUBLIC_URL by default." }),
    pools: t.string({ description: "As TRAINYARD_AGENT_POOLS: queue[,queue…]=slots, separated by ';'." }),
    labels: t.string({ description: "As TRAINYARD_AGENT_LABELS: key=value separated by commas." }),
    python: t.string({ description: "Interpreter on the host that has verl; that of the host's Python environment by default, or python3." }),
    caCertificate: t.string({ description: "PEM of the authority that signed the control plane's certificate, when Node does not know it." }),
    sendNode: t.boolean({ description: "Send the control plane's own Node even where the host has one that would do." }),
  }),
});

const RemoveHostAgentInput = builder.inputType("RemoveHostAgentInput", {
  fields: (t) => ({
    hostId: t.id({ required: true }),
    now: t.boolean({ defaultValue: false, description: "Stop what it runs instead of waiting for it; given again, it hastens a removal that waits." }),
    forget: t.boolean({ defaultValue: false, description: "The host is gone for good: only the control plane's side is cleaned up." }),
  }),
});

builder.mutationField("deployHostAgent", (t) => t.field({
  type: SshHostResult,
  description: "Orders an agent of its own onto a host, or a new release in the place of the one there: what it runs goes on. Given again, it goes on where it was broken off. Answers at once.",
  args: { input: t.arg({ type: DeployHostAgentInput, required: true }) },
  resolve: audited({
    subject: ({ input }: { input: typeof DeployHostAgentInput.$inferInput }) => String(input.hostId),
    run: async ({ input }, { principal, audit }, { deps }): Promise<{ sshHost: SshHostRow }> => ({
      sshHost: await deps.hostDeployments.deploy(String(input.hostId), {
        url: input.url ?? null, pools: input.pools ?? null, labels: input.labels ?? null, python: input.python ?? null, caCertificate: input.caCertificate ?? null, sendNode: input.sendNode ?? null,
      }, principal.name, (trx) => audit(trx)),
    }),
  }),
}));

builder.mutationField("removeHostAgent", (t) => t.field({
  type: SshHostResult,
  description: "Orders the agent of its own off a host, once what it runs has ended. Files go, but for attempts that hold checkpoints or registered data files; its token is revoked. Answers at once.",
  args: { input: t.arg({ type: RemoveHostAgentInput, required: true }) },
  resolve: audited({
    subject: ({ input }: { input: typeof RemoveHostAgentInput.$inferInput }) => String(input.hostId),
    run: async ({ input }, { principal, audit }, { deps }): Promise<{ sshHost: SshHostRow }> => ({
      sshHost: await deps.hostDeployments.remove(String(input.hostId), { now: input.now ?? false, forget: input.forget ?? false }, principal.name, (trx) => audit(trx)),
    }),
  }),
}));
