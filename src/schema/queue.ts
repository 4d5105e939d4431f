// Queues: what waits, what runs, and how much could.

import { builder } from "./builder.js";
import { statusOf } from "./agent.js";
import { selectAgents } from "./loaders.js";

const QueueInfo = builder.objectRef<{ name: string; waiting: number; running: number; capacity: number }>("QueueInfo").implement({
  description: "A named line of waiting stages.",
  fields: (t) => ({
    name: t.exposeString("name"),
    waiting: t.exposeInt("waiting", { description: "Stages QUEUED." }),
    running: t.exposeInt("running", { description: "Stages RUNNING." }),
    capacity: t.exposeInt("capacity", { description: "Slots of all agents that take work from it now." }),
  }),
});

builder.queryField("queues", (t) => t.field({
  type: [QueueInfo], description: "Every queue that has stages in it or an agent for it, by name.",
  resolve: async (_root, _args, context) => {
    const { db } = context.deps;
    const loads = await db.selectFrom("stages").select((eb) => ["queue", "status", eb.fn.countAll<number>().as("count")])
      .where("status", "in", ["QUEUED", "RUNNING"]).where("kind", "!=", "approval").groupBy(["queue", "status"]).execute();
    const queues = new Map<string, { name: string; waiting: number; running: number; capacity: number }>();
    const named = (name: string) => {
      const queue = queues.get(name) ?? { name, waiting: 0, running: 0, capacity: 0 };
      queues.set(name, queue);
      return queue;
    };
    for (const load of loads) named(load.queue)[load.status === "QUEUED" ? "waiting" : "running"] += load.count;
    for (const agent of await selectAgents(db).execute()) {
      const status = statusOf(agent, context);
      if (status === "OFFLINE" || status === "LOST") continue;
      for (const pool of agent.pools) for (const name of pool.queues) named(name).capacity += status === "ONLINE" ? pool.concurrency : 0;
    }
    return [...queues.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  },
}));
