import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId, type PipelineId } from "../../src/domain/ids.js";
import type { PipelineStatus } from "../../src/domain/pipeline/state.js";
import { commands } from "../support/specs.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
interface Row { id: PipelineId; name: string; status: PipelineStatus; micros: number }
let rows: Row[];
beforeAll(async () => {
  api = await startApi();
  // Several in one millisecond and in one microsecond: the order must not depend on luck.
  rows = Array.from({ length: 60 }, (_, i) => ({ id: newId("pip", 1_000 + i), name: ["alpha", "beta_1", "Gamma%"][i % 3]!, status: (["COMPLETED", "FAILED", "CANCELLED"] as const)[i % 3]!, micros: 1_700_000_000_000_000 + Math.floor(i / 4) * 250 }));
  for (const row of rows) {
    await api.world.database.pool.query("insert into pipelines (id, name, status, labels, spec, seq, stage_count, created_by, created_at) values ($1, $2, $3, '{}', '{\"stages\":[]}', 0, 0, 't', timestamptz 'epoch' + $4::bigint * interval '1 microsecond')", [row.id, row.name, row.status, row.micros]);
  }
  rows.sort((a, b) => b.micros - a.micros || (a.id < b.id ? 1 : -1));
});
afterAll(() => api.stop());

const LIST = "query ($first: Int, $last: Int, $after: String, $before: String, $status: [PipelineStatus!], $name: String) { pipelines(first: $first, last: $last, after: $after, before: $before, status: $status, name: $name) { edges { cursor node { id name status } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
const list = async (variables: object) => (await api.data(LIST, variables as Record<string, unknown>)).pipelines as { edges: { cursor: string; node: Row }[]; pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null } };

describe("the list of pipelines", () => {
  test("pages of any size, forward and backward, give every row once and in one order, newest first", async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 25 }), fc.constantFrom<PipelineStatus[] | null>(null, ["FAILED"], ["COMPLETED", "CANCELLED"]), async (size, status) => {
      const wanted = rows.filter((row) => status === null || status.includes(row.status)).map((row) => row.id);
      const forward: string[] = [];
      for (let after: string | null = null, more = true; more;) {
        const page = await list({ first: size, after, status });
        forward.push(...page.edges.map((edge) => edge.node.id));
        expect(page.pageInfo.hasPreviousPage).toBe(after !== null);
        expect(page.pageInfo.hasNextPage).toBe(forward.length < wanted.length);
        ({ hasNextPage: more, endCursor: after } = page.pageInfo);
      }
      expect(forward).toEqual(wanted);
      const backward: string[] = [];
      for (let before: string | null = null, more = true; more;) {
        const page = await list({ last: size, before, status });
        backward.unshift(...page.edges.map((edge) => edge.node.id));
        expect(page.pageInfo.hasPreviousPage).toBe(backward.length < wanted.length);
        ({ hasPreviousPage: more, startCursor: before } = page.pageInfo);
      }
      expect(backward).toEqual(wanted);
    }), { numRuns: 12 });
  });

  test("a window between two cursors holds what lies between them", async () => {
    const all = await list({ first: 60 });
    const page = await list({ first: 100, after: all.edges[9]!.cursor, before: all.edges[20]!.cursor });
    expect(page.edges.map((edge) => edge.node.id)).toEqual(rows.slice(10, 20).map((row) => row.id));
  });

  test("names are found by any part, in any case, and wildcards mean themselves", async () => {
    const named = async (name: string) => new Set((await list({ first: 100, name })).edges.map((edge) => edge.node.name));
    expect(await named("LPH")).toEqual(new Set(["alpha"]));
    expect(await named("_")).toEqual(new Set(["beta_1"]));
    expect(await named("%")).toEqual(new Set(["Gamma%"]));
    expect(await named("\\")).toEqual(new Set());
    expect((await list({ first: 100, status: [] })).edges).toEqual([]);
  });

  test("a page beyond the end is empty and says so", async () => {
    const { pageInfo } = await list({ first: 60 });
    expect(pageInfo.hasNextPage).toBe(false);
    expect(await list({ first: 10, after: pageInfo.endCursor })).toEqual({ edges: [], pageInfo: { hasNextPage: false, hasPreviousPage: true, startCursor: null, endCursor: null } });
  });
});

describe("rows are asked for once, however many objects need them", () => {
  const countStatements = async (work: () => Promise<unknown>) => {
    const { pool } = api.world.database;
    let statements = 0;
    const onAcquire = () => void statements++;
    pool.on("acquire", onAcquire);
    try { await work(); } finally { pool.off("acquire", onAcquire); }
    return statements;
  };

  test("stages, attempts and agents of many pipelines cost a handful of statements", async () => {
    await api.world.agent({ name: "box", pools: [{ queues: ["default"], concurrency: 50 }] });
    const ids = [];
    for (let i = 0; i < 12; i++) ids.push(await api.world.submit(commands(`n${i}`, [{ name: "a" }, { name: "b" }, { name: "c", dependsOn: ["a"] }])));
    for (const id of ids) await api.world.ended(id, "COMPLETED");
    let answer: any;
    const statements = await countStatements(async () => {
      answer = await api.data("{ pipelines(first: 12) { edges { node { name stageCounts stages { name dependsOn params progress { step } attempts { number lastHeartbeatAt agent { name } } checkpoints { id } evaluations { id } } } } } }");
    });
    expect(answer.pipelines.edges.flatMap((edge: any) => edge.node.stages).flatMap((stage: any) => stage.attempts.map((attempt: any) => attempt.agent.name))).toEqual(Array(36).fill("box"));
    expect(statements).toBeLessThan(25); // a few of them belong to the actors, which are at work too
  });

  test("a pipeline of 10,000 stages is read in one query within a second", async () => {
    const { spec } = { spec: commands("huge", Array.from({ length: 10_000 }, (_, i) => ({ name: `s${i}`, dependsOn: i === 0 ? ["gate"] : [`s${i - 1}`] }))) as { stages: unknown[] } };
    const id = await api.world.submit({ ...spec, stages: [{ name: "gate", kind: "approval" }, ...spec.stages] });
    const { pipeline } = await api.data("query ($id: ID!) { pipeline(id: $id) { stages { name status kind dependsOn } } }", { id });
    expect(pipeline.stages).toHaveLength(10_001);
    expect(pipeline.stages[5_000]).toEqual({ name: "s4999", status: "PENDING", kind: "COMMAND", dependsOn: ["s4998"] });
    const times = [];
    for (let i = 0; i < 4; i++) {
      const begun = performance.now();
      await api.data("query ($id: ID!) { pipeline(id: $id) { name status stages { name status } } }", { id });
      times.push(performance.now() - begun);
    }
    expect(Math.min(...times)).toBeLessThan(1_000);
  }, 60_000);
});
