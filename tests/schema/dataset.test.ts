import { createHash } from "node:crypto";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { datasetIdOf } from "../../src/domain/data/dataset.js";
import { newId } from "../../src/domain/ids.js";
import { AGENT_PATHS } from "../../src/protocol/messages.js";
import { algorithmsFor } from "../../src/schema/training-algorithm.js";
import type { ScriptedAgent } from "../support/world.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
let agent: ScriptedAgent;
beforeAll(async () => {
  api = await startApi();
  agent = await api.world.agent({ name: "gpu-1", capabilities: ["command", "preprocess", "evaluate"], run: () => "hold" });
});
afterAll(() => api.stop());

const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const chat = (count: number, tag = "q") => lines(Array.from({ length: count }, (_, id) => ({ id, messages: [{ role: "user", content: `${tag} ${id}` }, { role: "assistant", content: "a" }] })));
const put = (name: string, text: string) => { writeFileSync(join(api.folder, "data", name), text); return name; };
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const REGISTER = `mutation ($name: String!, $path: String!) { registerDataset(input: { name: $name, path: $path }) { __typename
  ... on RegisterDatasetPayload { dataset { id name version format rows unreadableRows sizeBytes contentHash path suitableFor tasks columns { name type nullCount } statistics createdBy files { host path } madeBy { id } readBy { id } } }
  ... on DomainError { code message retryable } ... on InvalidInputError { problems { path code message hint } } } }`;
const register = async (name: string, path: string) => (await api.data(REGISTER, { name, path })).registerDataset;

/** A preprocess attempt that reports what it read and made, and ends. */
async function prepare(name: string, made: string, read: string[]) {
  const pipelineId = await api.world.submit({ name: `prepare ${name}`, stages: [{ name: "prepare", kind: "preprocess", params: { input: "raw.jsonl", task: "sft" } }] });
  await expect.poll(() => agent.started.find((one) => one.pipelineId === pipelineId)).toBeDefined();
  const assignment = agent.started.find((one) => one.pipelineId === pipelineId)!;
  const { attemptId, fence } = assignment;
  const facts = { format: "jsonl" as const, contentHash: sha256(made), rows: 30, sizeBytes: Buffer.byteLength(made), columns: [{ name: "messages", type: "json", nullCount: 0 }], tasks: ["sft" as const], statistics: null, sample: [{ id: 0 }, { id: 1 }] };
  await expect.poll(() => agent.running.has(attemptId)).toBe(true);
  await agent.report(
    { type: "dataset-read", attemptId, fence, files: read.map((text, index) => ({ path: `/in/${index}`, contentHash: sha256(text), sizeBytes: Buffer.byteLength(text) })) },
    { type: "dataset", attemptId, fence, datasetId: datasetIdOf(name, facts.contentHash), name, path: "/gpu-1/out/train.jsonl", facts });
  await agent.end(assignment, { kind: "COMPLETED", outputs: {} });
  await api.world.ended(pipelineId, "COMPLETED");
  return { pipelineId, stageId: assignment.stageId };
}

describe("registerDataset", () => {
  test("answers the version with what is in the file", async () => {
    const text = chat(30);
    put("chat.jsonl", text);
    const { __typename, dataset } = await register("team/chat", "chat.jsonl");
    expect(__typename).toBe("RegisterDatasetPayload");
    expect(dataset).toMatchObject({
      id: datasetIdOf("team/chat", sha256(text)), name: "team/chat", version: 1, format: "jsonl", rows: 30, unreadableRows: 0, sizeBytes: Buffer.byteLength(text), contentHash: sha256(text), path: join(api.folder, "data", "chat.jsonl"),
      suitableFor: ["SFT"], tasks: ["SFT"], createdBy: "the admin", files: [{ host: "control plane", path: join(api.folder, "data", "chat.jsonl") }], madeBy: null, readBy: [],
    });
    expect(dataset.columns.map((column: { name: string }) => column.name)).toEqual(["id", "messages"]);
    expect(dataset.statistics).toMatchObject({ rows: 30 });
  });

  test("again answers the same version, as another name another data set", async () => {
    put("again.jsonl", chat(3, "again"));
    const first = await register("again", "again.jsonl");
    expect((await register("again", "again.jsonl")).dataset.id).toBe(first.dataset.id);
    expect((await register("again2", "again.jsonl")).dataset).toMatchObject({ version: 1, contentHash: first.dataset.contentHash });
    appendFileSync(join(api.folder, "data", "again.jsonl"), chat(1));
    expect((await register("again", "again.jsonl")).dataset).toMatchObject({ version: 2 });
    expect((await api.data(`{ dataset(id: "again") { version versions { version } } }`)).dataset).toEqual({ version: 2, versions: [{ version: 2 }, { version: 1 }] });
  });

  test("refuses a path outside the data directories at input.path", async () => {
    const refused = await register("secret", "/etc/passwd");
    expect(refused).toMatchObject({ __typename: "InvalidInputError", problems: [{ path: "input.path", code: "PATH_REFUSED", message: expect.stringContaining("TRAINYARD_DATA_DIRS") }] });
    expect((await api.data(`{ dataset(id: "secret") { id } }`)).dataset).toBeNull();
  });

  test("of raw prompts and answers is suitable for nothing until they are prepared", async () => {
    put("raw.jsonl", lines([{ prompt: "1+1?", response: "2" }, { prompt: "2+2?", response: "4" }]));
    expect((await register("raw", "raw.jsonl")).dataset).toMatchObject({ suitableFor: [], tasks: [] });
    expect([algorithmsFor(["sft"]), algorithmsFor(["rl"]), algorithmsFor(["preference"])]).toEqual([["sft"], ["ppo", "grpo", "gspo", "dapo", "rloo", "remax", "reinforce_plus_plus"], ["dpo"]]);
  });

  test("leaves a row in the audit trail, accepted and refused", async () => {
    const { dataset } = await register("audited", put("audited.jsonl", chat(2, "audited")));
    const accepted = (await api.data(`query ($id: String!) { audit(subject: $id) { edges { node { action outcome input } } } }`, { id: dataset.id })).audit.edges;
    expect(accepted).toEqual([{ node: { action: "registerDataset", outcome: "ACCEPTED", input: { input: { name: "audited", path: "audited.jsonl" } } } }]);
    const refused = (await api.ask("viewer", REGISTER, { name: "x", path: "audited.jsonl" })).data.registerDataset;
    expect(refused).toMatchObject({ __typename: "ForbiddenError" });
    expect((await api.data(`{ audit(first: 1) { edges { node { action outcome code } } } }`)).audit.edges[0].node).toEqual({ action: "registerDataset", outcome: "REFUSED", code: "FORBIDDEN" });
  });
});

describe("reading", () => {
  test("a data set is found by id, by node, by name and by version; datasets pages through all of them, newest first, and filters by name", async () => {
    for (const index of [1, 2, 3, 4, 5]) await register(`list/${index}`, put(`list-${index}.jsonl`, chat(index, `list ${index}`)));
    const all: string[] = [];
    for (let after: string | null = null; ;) {
      const page: any = (await api.data(`query ($after: String) { datasets(first: 2, after: $after, name: "LIST/") { edges { cursor node { id name } } pageInfo { hasNextPage endCursor } } }`, { after })).datasets;
      all.push(...page.edges.map((edge: any) => edge.node.name));
      if (!page.pageInfo.hasNextPage) break;
      after = page.pageInfo.endCursor;
    }
    expect(all).toEqual(["list/5", "list/4", "list/3", "list/2", "list/1"]);
    const { id } = (await api.data(`{ dataset(id: "list/3@1") { id } }`)).dataset;
    expect(await api.data("query ($id: ID!) { dataset(id: $id) { name } node(id: $id) { __typename id } }", { id })).toEqual({ dataset: { name: "list/3" }, node: { __typename: "Dataset", id } });
    expect(await api.data("query ($id: ID!) { dataset(id: $id) { name } node(id: $id) { id } }", { id: newId("dst") })).toEqual({ dataset: null, node: null });
    expect((await api.ask("viewer", `{ datasets(after: "nonsense") { edges { cursor } } }`)).errors?.[0]?.extensions?.["code"]).toBe("BAD_USER_INPUT");
  });

  test("rows come page by page; from a sample only with a word about it", async () => {
    await register("rows", put("rows.jsonl", chat(200, "rows")));
    const asked = `{ dataset(id: "rows") { preview(first: 2, from: 150) page(first: 3, from: 198) { rows from source note } } }`;
    const { dataset } = await api.data(asked);
    expect(dataset.preview.map((row: { id: number }) => row.id)).toEqual([150, 151]);
    expect(dataset.page).toMatchObject({ rows: [{ id: 198 }, { id: 199 }], from: 198, source: "FILE", note: null });
    put("rows.jsonl", chat(200, "else"));
    const answer = await api.ask("viewer", asked);
    expect(answer.errors).toMatchObject([{ path: ["dataset", "preview"], extensions: { code: "ROWS_NOT_REACHABLE" }, message: expect.stringContaining("other content") }]);
    expect((await api.data(`{ dataset(id: "rows") { preview page(first: 1) { source note rows } } }`)).dataset).toMatchObject({ page: { source: "SAMPLE", note: expect.stringContaining("the first 20 of 200 rows"), rows: [{ id: 0 }] } });
    expect((await api.ask("viewer", `{ dataset(id: "rows") { preview(first: 101) } }`)).errors?.[0]?.extensions?.["code"]).toBe("BAD_USER_INPUT");
    expect((await api.ask("viewer", `{ dataset(id: "rows") { preview(from: -1) } }`)).errors?.[0]?.extensions?.["code"]).toBe("BAD_USER_INPUT");
    expect((await api.ask("viewer", `{ datasets(first: 100) { edges { node { preview(first: 100) versions(first: 100) { preview } } } } }`)).errors?.[0]?.extensions?.["code"]).toBe("DOCUMENT_LIMIT");
  });
});

describe("lineage", () => {
  test("leads from a data set to the stage that made it and the stages that read it, and back", async () => {
    const raw = chat(12, "lineage"), made = chat(30, "lineage made");
    const { dataset } = await register("lineage/raw", put("lineage.jsonl", raw));
    const { stageId } = await prepare("lineage/train", made, [raw]);
    const later = await prepare("lineage/again", chat(30, "later"), [made]);
    const answer = await api.data(`query ($raw: ID!, $stage: ID!) {
      raw: dataset(id: $raw) { readBy { id name } madeBy { id } }
      made: dataset(id: "lineage/train") { madeBy { id } readBy { id } path files { host path } createdBy }
      stage(id: $stage) { datasetsMade { name } datasetsRead { name } } }`, { raw: dataset.id, stage: stageId });
    expect(answer).toEqual({
      raw: { readBy: [{ id: stageId, name: "prepare" }], madeBy: null },
      made: { madeBy: { id: stageId }, readBy: [{ id: later.stageId }], path: "/gpu-1/out/train.jsonl", files: [{ host: "gpu-1", path: "/gpu-1/out/train.jsonl" }], createdBy: "test" },
      stage: { datasetsMade: [{ name: "lineage/train" }], datasetsRead: [{ name: "lineage/raw" }] },
    });
  });

  test("an evaluation names the data set it was about, by name, by version, or by nothing that is registered", async () => {
    const { dataset } = await register("eval/set", put("eval.jsonl", chat(4, "eval")));
    const results: unknown[] = [];
    for (const name of ["eval/set", "dataset:eval/set@1", dataset.id, "gsm8k"]) {
      const id = await api.world.submit({ name: "evaluate", stages: [{ name: "score", kind: "evaluate", params: { run: ["true"], dataset: name } }] });
      await expect.poll(() => agent.started.find((one) => one.pipelineId === id && agent.running.has(one.attemptId))).toBeDefined();
      await agent.end(agent.started.find((one) => one.pipelineId === id)!, { kind: "COMPLETED", outputs: { scores: { accuracy: 1 } } });
      await api.world.ended(id, "COMPLETED");
      results.push((await api.data("query ($id: ID!) { evaluations(pipelineId: $id) { datasetName dataset { name version } } }", { id })).evaluations[0]);
    }
    const found = { name: "eval/set", version: 1 };
    expect(results).toEqual([{ datasetName: "eval/set", dataset: found }, { datasetName: "dataset:eval/set@1", dataset: found }, { datasetName: dataset.id, dataset: found }, { datasetName: "gsm8k", dataset: null }]);
  });
});

describe("a preprocess stage that reads dataset:…", () => {
  const spec = (input: unknown, more: unknown[] = []) => ({ name: "uses data", stages: [{ name: "prepare", kind: "preprocess", params: { input, task: "sft" } }, ...more] });
  const validate = async (input: unknown, more: unknown[] = []) => (await api.data("query ($spec: JSON!) { validatePipeline(spec: $spec) { ok problems { path severity code message hint } } }", { spec: spec(input, more) })).validatePipeline;
  beforeAll(async () => { await register("known/set", put("known.jsonl", chat(2, "known"))); });

  test("is accepted when it is registered, or when a stage of the same pipeline makes it", async () => {
    for (const input of ["dataset:known/set", "dataset:known/set@1", ["dataset:known/set", { path: "dataset:known/set@1" }], "raw/*.jsonl"]) expect(await validate(input), JSON.stringify(input)).toMatchObject({ ok: true, problems: [] });
    expect(await validate("dataset:team/made-train", [{ name: "maker", kind: "preprocess", params: { input: "raw.jsonl", task: "sft", dataset: "team/made" } }])).toMatchObject({ ok: true });
    expect(await validate("dataset:uses data/maker-validation", [{ name: "maker", kind: "preprocess", params: { input: "raw.jsonl", task: "sft" } }])).toMatchObject({ ok: true });
  });

  test("is refused at its place otherwise, with the nearest name", async () => {
    expect(await validate("dataset:known/sett")).toEqual({ ok: false, problems: [{ path: "stages[0].params.input", severity: "ERROR", code: "UNKNOWN_DATASET", message: 'No data set is registered as "known/sett".', hint: 'Did you mean "known/set"?' }] });
    expect((await validate(["raw.jsonl", { path: "dataset:known/set@7" }])).problems).toMatchObject([{ path: "stages[0].params.input[1].path", message: 'The data set "known/set" has no version 7.', hint: "Its newest version is 1." }]);
    expect((await validate({ path: `dataset:${newId("dst")}` })).problems).toMatchObject([{ path: "stages[0].params.input.path", code: "UNKNOWN_DATASET" }]);
    expect((await validate("dataset:")).problems).toMatchObject([{ code: "UNKNOWN_DATASET" }]);
    const submitted = await api.data("mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { __typename ... on InvalidInputError { problems { path code } } } }", { spec: spec("dataset:nobody") });
    expect(submitted.submitPipeline).toEqual({ __typename: "InvalidInputError", problems: [{ path: "stages[0].params.input", code: "UNKNOWN_DATASET" }] });
  });
});

describe("agents", () => {
  const call = (path: string, body: unknown, who: "agent" | "admin" = "agent") => fetch(new URL(path, api.url), { method: "POST", body: JSON.stringify(body), headers: { authorization: `Bearer ${api.tokens[who]}`, "content-type": "application/json" } });

  test("learn what a reference stands for and get its content, byte for byte", async () => {
    const text = chat(3_000, "content");
    const { dataset } = await register("content", put("content.jsonl", text));
    for (const ref of ["dataset:content", "dataset:content@1", "content", dataset.id]) {
      expect(await (await call(AGENT_PATHS.dataset, { ref })).json(), ref).toEqual({ datasetId: dataset.id, name: "content", version: 1, contentHash: sha256(text), sizeBytes: Buffer.byteLength(text), format: "jsonl", gzip: false, path: null, elsewhere: [join(api.folder, "data", "content.jsonl")], downloadable: true });
    }
    writeFileSync(join(api.folder, "data", "packed.jsonl.gz"), gzipSync(text));
    await register("packed", "packed.jsonl.gz");
    expect(await (await call(AGENT_PATHS.dataset, { ref: "packed" })).json()).toMatchObject({ format: "jsonl", gzip: true });
    const answer = await call(AGENT_PATHS.datasetContent, { datasetId: dataset.id });
    expect([answer.status, Number(answer.headers.get("content-length"))]).toEqual([200, Buffer.byteLength(text)]);
    expect(await answer.text()).toBe(text);
  });

  test("are told where they have it themselves, and that the control plane has not", async () => {
    const made = chat(30, "only there");
    await prepare("only/there", made, []);
    const { token } = (await api.world.database.db.selectFrom("agents").select("token_id as token").where("name", "=", "gpu-1").executeTakeFirstOrThrow());
    const answers = await Promise.all([undefined, agent.session.sessionId, newId("ses")].map(async (sessionId) => {
      const { createAgentDatasets } = await import("../../src/server/agent-datasets.js");
      return createAgentDatasets({ db: api.world.database.db, registry: api.registry }).resolve({ tokenId: token!, agentName: null }, { ref: "only/there", sessionId });
    }));
    const there = "/gpu-1/out/train.jsonl";
    expect(answers.map(({ path, elsewhere, downloadable }) => [path, elsewhere, downloadable])).toEqual([[there, [], false], [there, [], false], [null, [there], false]]);
    const answer = await call(AGENT_PATHS.datasetContent, { datasetId: answers[0]!.datasetId });
    expect([answer.status, (await answer.json() as { code: string }).code]).toEqual([409, "DATASET_NOT_HERE"]);
  });

  test("of no such data set, and askers that are no agents, are refused", async () => {
    expect((await call(AGENT_PATHS.dataset, { ref: "nothing" })).status).toBe(404);
    expect((await call(AGENT_PATHS.datasetContent, { datasetId: newId("dst") })).status).toBe(404);
    expect((await call(AGENT_PATHS.datasetContent, { datasetId: "../../etc/passwd" })).status).toBe(400);
    expect((await call(AGENT_PATHS.dataset, { ref: "content" }, "admin")).status).toBe(403);
    expect((await call(AGENT_PATHS.datasetContent, { datasetId: newId("dst") }, "admin")).status).toBe(403);
  });
});

