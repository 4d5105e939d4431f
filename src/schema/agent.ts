// Agents: who they are, what they can do, what they hold; draining them.

import { NotFoundError } from "../domain/errors.js";
import { isId, type AgentId } from "../domain/ids.js";
import type { GpuReport, Pool } from "../protocol/messages.js";
import { AGENT_STATUSES, agentStatus } from "./agent-status.js";
import { Attempt } from "./attempt.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Conflict, Forbidden, InvalidInput, memberOf, NotFound } from "./domain-error.js";
import { selectAgents, type AgentRow } from "./loaders.js";
import { audited } from "./mutation.js";
import { Node, nodeKind } from "./node.js";

const AgentStatus = builder.enumType("AgentStatus", {
  description:
    "UNRESPONSIVE: silent for a while, gets no new work, keeps what it runs. LOST: silent until its leases ran out. DRAINING: finishes what it runs and takes nothing new. OFFLINE: it said goodbye.",
  values: AGENT_STATUSES,
});

const RunMode = builder.enumType("RunMode", { description: "Where its programs run: on its own machine, or on another over SSH.", values: ["LOCAL", "SSH"] as const });

const AgentQueue = builder.objectRef<{ name: string; concurrency: number; running: number }>("AgentQueue").implement({
  description: "A queue that an agent serves.",
  fields: (t) => ({
    name: t.exposeString("name"),
    concurrency: t.exposeInt("concurrency", { description: "Attempts at once, over all queues of the same pool." }),
    running: t.exposeInt("running", { description: "Attempts of this queue that it holds now." }),
  }),
});

const AgentPool = builder.objectRef<Pool & { running: number }>("AgentPool").implement({
  description: "Queues that share an agent's slots.",
  fields: (t) => ({
    queues: t.exposeStringList("queues"),
    concurrency: t.exposeInt("concurrency"),
    running: t.exposeInt("running"),
  }),
});

const Gpu = builder.objectRef<GpuReport & { agentId: AgentId }>("Gpu").implement({
  description: "A GPU of an agent, as it last reported it.",
  fields: (t) => ({
    index: t.exposeInt("index"),
    model: t.exposeString("model"),
    memoryTotalMiB: t.expose("memoryTotalMiB", { type: "SafeInt" }),
    memoryUsedMiB: t.expose("memoryUsedMiB", { type: "SafeInt", nullable: true }),
    utilizationPercent: t.exposeFloat("utilizationPercent", { nullable: true }),
    heldBy: t.field({
      type: Attempt, nullable: true, description: "The attempt it is given to.",
      resolve: async (gpu, _args, { loaders }) => {
        const hold = (await loaders.gpuHoldsOf.load(gpu.agentId)).find((candidate) => candidate.gpuIndex === gpu.index);
        return hold === undefined ? null : loaders.attempt.load(hold.attemptId);
      },
    }),
  }),
});

export const Agent = builder.objectRef<AgentRow>("Agent");
Agent.implement({
  description: "The daemon on a host that pulls work.",
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString("name"),
    status: t.field({ type: AgentStatus, resolve: (row, _args, context) => statusOf(row, context) }),
    labels: t.expose("labels", { type: "JSON" }),
    queues: t.field({
      type: [AgentQueue],
      resolve: async (row, _args, { loaders }) => {
        const load = new Map((await loaders.loadOf.load(row.id)).map((entry) => [entry.queue, entry.running]));
        return row.pools.flatMap((pool) => pool.queues.map((name) => ({ name, concurrency: pool.concurrency, running: load.get(name) ?? 0 })));
      },
    }),
    pools: t.field({
      type: [AgentPool],
      resolve: async (row, _args, { loaders }) => {
        const load = await loaders.loadOf.load(row.id);
        return row.pools.map((pool) => ({ ...pool, running: load.filter((entry) => pool.queues.includes(entry.queue)).reduce((sum, entry) => sum + entry.running, 0) }));
      },
    }),
    gpus: t.field({ type: [Gpu], resolve: (row) => row.gpus.map((gpu) => ({ ...gpu, agentId: row.id })) }),
    versions: t.expose("versions", { type: "JSON", description: "Versions found on its host: agent, node, python, torch, verl, cuda; null where there is none." }),
    problem: t.string({
      nullable: true, description: "What stands in the way of programs on its host, in words; null when nothing does. It runs nothing new meanwhile and goes on with what it has as soon as it can.",
      resolve: (row) => (row.versions as Readonly<Record<string, string | null>>)["problem"] ?? null,
    }),
    runMode: t.field({ type: RunMode, resolve: (row) => row.run_mode }),
    draining: t.boolean({ resolve: (agent) => agent.draining || agent.stopping, description: "Takes no new work, by an operator's order or because it is stopping." }),
    running: t.field({ type: [Attempt], description: "Attempts it holds now.", resolve: async (row, _args, { loaders }) => [...(await loaders.runningOn.load(row.id))] }),
    lastHeartbeatAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.last_heartbeat_at }),
  }),
});
nodeKind("agt", (id, { loaders }) => (isId("agt", id) ? loaders.agent.load(id) : Promise.resolve(null)));

export function statusOf(row: AgentRow, { deps }: Context) {
  return agentStatus(row, { unresponsiveAfterMs: deps.config.TRAINYARD_UNRESPONSIVE_AFTER_MS, leaseTtlMs: deps.config.TRAINYARD_LEASE_TTL_MS });
}

builder.queryField("agents", (t) => t.field({
  type: [Agent], description: "All agents that ever connected, by name.",
  resolve: (_root, _args, { deps }) => selectAgents(deps.db).orderBy("name").execute(),
}));

builder.queryField("agent", (t) => t.field({
  type: Agent, nullable: true, args: { id: t.arg.id({ required: true }) },
  resolve: (_root, { id }, { loaders }) => (isId("agt", id) ? loaders.agent.load(id) : null),
}));

const AgentActionInput = builder.inputType("AgentActionInput", {
  fields: (t) => ({ agentId: t.id({ required: true }), reason: t.string({ description: "Kept in the audit trail." }) }),
});
const AgentPayload = builder.objectRef<{ agent: AgentRow }>("AgentPayload").implement({ fields: (t) => ({ agent: t.expose("agent", { type: Agent }) }) });
const AgentResult = builder.unionType("AgentResult", { types: [AgentPayload, NotFound, Conflict, InvalidInput, Forbidden], resolveType: memberOf("AgentPayload") });

const drain = (draining: boolean) => audited<{ input: { agentId: string; reason?: string | null | undefined } }, { agent: AgentRow }>({
  subject: ({ input }) => input.agentId,
  run: async ({ input }, _actor, { deps, loaders }) => {
    if (!isId("agt", input.agentId)) throw new NotFoundError("agent", input.agentId);
    await deps.controlPlane.drainAgent(input.agentId, draining);
    const agent = await loaders.agent.load(input.agentId);
    if (agent === null) throw new NotFoundError("agent", input.agentId);
    return { agent };
  },
});

builder.mutationField("drainAgent", (t) => t.field({
  type: AgentResult, description: "No new work for the agent; what it runs goes on. For maintenance of its host.",
  args: { input: t.arg({ type: AgentActionInput, required: true }) }, resolve: drain(true),
}));
builder.mutationField("undrainAgent", (t) => t.field({
  type: AgentResult, description: "Takes the drain back.",
  args: { input: t.arg({ type: AgentActionInput, required: true }) }, resolve: drain(false),
}));
