// Agents of their own on SSH hosts, as they are shown while an order is carried out and after.

import type { HostDeploymentRow } from "../access/host-deployments.js";
import type { DeploymentStep } from "../domain/deployment-step.js";
import { builder } from "./builder.js";

const STATES = ["DEPLOYING", "DEPLOYED", "REMOVING", "REMOVED", "FAILED"] as const;
const HostDeploymentState = builder.enumType("HostDeploymentState", { description: "How far the last order is. FAILED: error says why; what ran before the order runs on.", values: STATES });

const AgentSupervision = builder.enumType("AgentSupervision", {
  description: "Who keeps a deployed agent running. SYSTEMD: a unit of the user's, also after a reboot. SUPERVISED: a process of ours, until the host reboots.",
  values: ["SYSTEMD", "SUPERVISED"] as const,
});

const HostDeploymentStepState = builder.enumType("HostDeploymentStepState", { description: "How far a step is.", values: ["RUNNING", "DONE", "FAILED"] as const });

const HostDeploymentStep = builder.objectRef<DeploymentStep>("HostDeploymentStep").implement({
  description: "One step of an order; later ones are not known yet.",
  fields: (t) => ({
    name: t.exposeString("name", { description: "For people." }),
    state: t.expose("state", { type: HostDeploymentStepState }),
    detail: t.exposeString("detail", { nullable: true, description: "What was found or done." }),
    bytesDone: t.expose("bytesDone", { type: "SafeInt", nullable: true, description: "Of a transfer." }),
    bytesTotal: t.expose("bytesTotal", { type: "SafeInt", nullable: true }),
    etaSeconds: t.float({ nullable: true, resolve: ({ etaMs }) => (etaMs === null ? null : etaMs / 1_000) }),
  }),
});

const HostDeploymentError = builder.objectRef<{ code: string; message: string }>("HostDeploymentError").implement({
  description: "Why an order came to nothing.",
  fields: (t) => ({
    code: t.exposeString("code", { description: "Stable; listed in docs/errors.md." }),
    message: t.exposeString("message"),
  }),
});

export const HostDeployment = builder.objectRef<HostDeploymentRow>("HostDeployment").implement({
  description: "An agent of its own on a host: the last order to deploy or remove it, and what runs there.",
  fields: (t) => ({
    state: t.field({ type: HostDeploymentState, resolve: ({ kind, state }) => (state === "FAILED" ? "FAILED" : kind === "DEPLOY" ? (state === "DONE" ? "DEPLOYED" : "DEPLOYING") : state === "DONE" ? "REMOVED" : "REMOVING") }),
    release: t.exposeString("release", { nullable: true, description: "Content hash of what runs there: the package and its Node." }),
    version: t.exposeString("version", { nullable: true, description: "Of the package that runs there." }),
    supervision: t.expose("supervision", { type: AgentSupervision, nullable: true }),
    runningSince: t.expose("running_since", { type: "DateTime", nullable: true, description: "When this release was started; its programs may be older." }),
    steps: t.field({ type: [HostDeploymentStep], resolve: (row) => row.steps }),
    error: t.field({ type: HostDeploymentError, nullable: true, resolve: (row) => row.error }),
    notes: t.exposeStringList("notes", { description: "What the operator should know, such as what stays on the host after a removal." }),
    orderedBy: t.exposeString("ordered_by"),
    orderedAt: t.expose("ordered_at", { type: "DateTime" }),
  }),
});
