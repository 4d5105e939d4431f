import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commands, diamond } from "../support/specs.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi(); });
afterAll(() => api.stop());

const SUBMIT = `mutation ($spec: JSON!, $requestId: String) { submitPipeline(input: { spec: $spec, requestId: $requestId }) { __typename
  ... on SubmitPipelinePayload { cursor pipeline { id name status head } } ... on DomainError { code message retryable } ... on InvalidInputError { problems { path code severity } } } }`;
const submit = async (spec: unknown, requestId?: string) => (await api.data(SUBMIT, { spec, requestId })).submitPipeline;

describe("submitting", () => {
  test("a good specification becomes a pipeline that can be read back whole", async () => {
    const { __typename, pipeline, cursor } = await submit(diamond);
    expect(__typename).toBe("SubmitPipelinePayload");
    const { pipeline: read } = await api.data(
      `query ($id: ID!) { pipeline(id: $id) { id name status createdBy spec layers stageCounts head error forkedFrom { id } stages { name kind status queue priority dependsOn params outputs pipeline { id } waitReasons progress { step } error { code } attempts { number } }
        stage(name: "b") { id name } events(first: 100) { cursor seq type stage payload at } } }`, { id: pipeline.id });
    expect(read).toMatchObject({ name: "diamond", createdBy: "the admin", layers: [["a"], ["b", "c"], ["d"]], error: null, forkedFrom: null, stage: { name: "b" } });
    expect(read.stages.map((stage: { name: string; dependsOn: string[] }) => [stage.name, stage.dependsOn])).toEqual([["a", []], ["b", ["a"]], ["c", ["a"]], ["d", ["b", "c"]]]);
    expect(read.stages[0]).toMatchObject({ kind: "COMMAND", status: "QUEUED", queue: "default", params: { run: ["true"] }, waitReasons: [expect.any(String)] });
    expect(read.stageCounts).toMatchObject({ PENDING: 3, QUEUED: 1, COMPLETED: 0 });
    expect(read.events.map((event: { seq: number }) => event.seq)).toEqual(read.events.map((_: unknown, index: number) => index + 1));
    expect(read.events[0]).toMatchObject({ type: "PipelineSubmitted", stage: null, at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) });
    expect(read.events.at(-1).cursor).toBe(read.head);
    expect(read.events.map((event: { cursor: string }) => event.cursor)).toContain(cursor);
    expect((await submit(read.spec)).__typename).toBe("SubmitPipelinePayload"); // what is stored can be submitted again
  });

  test("every problem comes with its JSON path, and nothing is stored", async () => {
    const before = await api.world.database.db.selectFrom("pipelines").select("id").execute();
    const result = await submit(commands("broken", [{ name: "a", dependsOn: ["nowhere"] }, { name: "a" }]));
    expect(result).toMatchObject({ __typename: "InvalidInputError", code: "INVALID_INPUT", retryable: false });
    expect(result.problems.map((problem: { path: string; code: string }) => [problem.path, problem.code])).toEqual(
      expect.arrayContaining([["stages[0].dependsOn[0]", "UNKNOWN_DEPENDENCY"], ["stages[1].name", "DUPLICATE_STAGE"]]));
    expect(await api.world.database.db.selectFrom("pipelines").select("id").execute()).toHaveLength(before.length);
  });

  test("a repeated request id answers the same pipeline; with another specification it is a conflict", async () => {
    const first = await submit(diamond, "req-1");
    const again = await submit(diamond, "req-1");
    expect(again.pipeline.id).toBe(first.pipeline.id);
    const other = await submit(commands("other", [{ name: "a" }]), "req-1");
    expect(other.__typename).toBe("ConflictError");
    expect((await api.ask("operator", SUBMIT, { spec: diamond, requestId: "req-1" })).data.submitPipeline.pipeline.id).not.toBe(first.pipeline.id); // ids belong to a token
  });

  test("validation says the same and stores nothing", async () => {
    const ask = (spec: unknown) => api.data("query ($spec: JSON!) { validatePipeline(spec: $spec) { ok layers problems { path severity code message hint } } }", { spec });
    const count = async () => (await api.world.database.db.selectFrom("pipelines").select("id").execute()).length;
    const before = await count();
    expect((await ask(diamond)).validatePipeline).toEqual({ ok: true, layers: [["a"], ["b", "c"], ["d"]], problems: [] });
    expect((await ask({ name: "x" })).validatePipeline).toMatchObject({ ok: false, layers: [], problems: [{ path: "stages", severity: "ERROR" }] });
    for (const hostile of [7, "text", [], { stages: [null] }, JSON.parse('{"__proto__":{"x":1}}')]) expect((await ask(hostile)).validatePipeline?.ok ?? false).toBe(false);
    expect(await count()).toBe(before);
  });
});

describe("ordering", () => {
  const ORDER = (name: string, type = "PipelineActionInput") => `mutation ($input: ${type}!) { ${name}(input: $input) { __typename ... on PipelinePayload { cursor pipeline { id status forkedFrom { id } } } ... on DomainError { code message } } }`;
  const order = async (name: string, input: object, type?: string) => (await api.data(ORDER(name, type), { input }))[name];

  test("pause, resume, cancel and retry move a pipeline and name the event they caused", async () => {
    const { pipeline: { id } } = await submit(diamond);
    for (const [name, status] of [["pausePipeline", "PAUSED"], ["resumePipeline", "PENDING"], ["cancelPipeline", "CANCELLED"], ["retryPipeline", "PENDING"], ["cancelPipeline", "CANCELLED"]] as const) {
      const result = await order(name, { pipelineId: id, reason: "because" });
      expect(result, name).toMatchObject({ __typename: "PipelinePayload", pipeline: { id, status } });
      const { pipeline } = await api.data("query ($id: ID!) { pipeline(id: $id) { head events { cursor payload } } }", { id });
      expect(pipeline.events.map((event: { cursor: string }) => event.cursor)).toContain(result.cursor);
    }
  });

  test("what the state does not allow is a conflict, what does not exist is not found", async () => {
    const { pipeline: { id } } = await submit(diamond);
    expect((await order("resumePipeline", { pipelineId: id })).__typename).toBe("ConflictError");
    expect((await order("approveStage", { pipelineId: id, stage: "a" }, "StageActionInput")).__typename).toBe("ConflictError");
    expect((await order("cancelStage", { pipelineId: id, stage: "zzz" }, "StageActionInput")).__typename).toBe("NotFoundError");
    expect((await order("cancelPipeline", { pipelineId: "pip_nonsense" })).__typename).toBe("NotFoundError");
    expect((await order("cancelPipeline", { pipelineId: id, reason: "x".repeat(2_001) })).__typename).toBe("InvalidInputError");
  });

  test("an approval stage waits, says what it asks, and goes on when approved", async () => {
    const { pipeline: { id } } = await submit({ name: "gate", stages: [{ name: "ask", kind: "approval", params: { message: "Ship it?" } }] });
    const { pipeline } = await api.data("query ($id: ID!) { pipeline(id: $id) { stage(name: \"ask\") { status reason } } }", { id });
    expect(pipeline.stage).toEqual({ status: "WAITING_APPROVAL", reason: "Ship it?" });
    expect((await order("approveStage", { pipelineId: id, stage: "ask" }, "StageActionInput")).pipeline.status).toBe("COMPLETED");
  });

  test("a fork names its parent", async () => {
    const { pipeline: { id } } = await submit(diamond);
    const forked = await order("forkPipeline", { pipelineId: id, fromStage: "b", overrides: { run: ["false"] } }, "ForkPipelineInput");
    expect(forked.pipeline.forkedFrom.id).toBe(id);
    expect((await order("forkPipeline", { pipelineId: id, fromStage: "nope" }, "ForkPipelineInput")).__typename).toBe("NotFoundError");
    expect((await order("forkPipeline", { pipelineId: id, fromStage: "b", overrides: [1] }, "ForkPipelineInput")).__typename).toBe("InvalidInputError");
  });
});

describe("a run with an agent", () => {
  test("attempts, agents, queues and results can be read, each by its id too", async () => {
    const agent = await api.world.agent({ name: "box", run: (assignment) => (assignment.stage === "b" ? { kind: "FAILED", failure: { code: "EXIT_NONZERO", message: "exit code 3", hint: "look", exitCode: 3, logTail: ["boom"] } } : { kind: "COMPLETED", outputs: { x: 1 } }) });
    const { pipeline: { id } } = await submit(diamond);
    await api.world.ended(id, "FAILED");
    const { pipeline, agents, queues } = await api.data(
      `query ($id: ID!) { pipeline(id: $id) { error stages { id name status reason outputs startedAt finishedAt error { code hint exitCode logTail } attempts { id number status command stage { name } agent { name } lastHeartbeatAt startedAt finishedAt error { code } diagnosis { cause } } } }
        agents { id name status runMode labels versions draining lastHeartbeatAt queues { name concurrency running } pools { queues concurrency running } gpus { index heldBy { id } } running { id } } queues { name waiting running capacity } }`, { id });
    const stage = Object.fromEntries(pipeline.stages.map((each: { name: string }) => [each.name, each]));
    expect(stage.a).toMatchObject({ status: "COMPLETED", outputs: { x: 1 }, error: null, attempts: [{ number: 1, status: "COMPLETED", command: ["true"], agent: { name: "box" }, lastHeartbeatAt: null }] });
    expect(stage.b).toMatchObject({ status: "FAILED", outputs: null, error: { code: "EXIT_NONZERO", hint: "look", exitCode: 3, logTail: ["boom"] }, attempts: [{ status: "FAILED", error: { code: "EXIT_NONZERO" } }] });
    expect(stage.d).toMatchObject({ status: "SKIPPED", reason: expect.stringContaining("b"), attempts: [] });
    expect(agents.find((each: { name: string }) => each.name === "box")).toMatchObject({ status: "ONLINE", runMode: "LOCAL", draining: false, running: [] });
    expect(queues.find((each: { name: string }) => each.name === "training")).toEqual({ name: "training", waiting: 0, running: 0, capacity: 1 });
    for (const [globalId, typename] of [[id, "Pipeline"], [stage.a.id, "Stage"], [stage.a.attempts[0].id, "Attempt"], [agent.session.agentId, "Agent"]]) {
      expect((await api.data("query ($id: ID!) { node(id: $id) { __typename id } }", { id: globalId })).node).toEqual({ __typename: typename, id: globalId });
    }
    for (const unknown of ["pip_00000000000000000000000000", "tok_00000000000000000000000000", "nonsense", "", "constructor"]) expect((await api.data("query ($id: ID!) { node(id: $id) { id } }", { id: unknown })).node).toBeNull();
  });

  test("an agent is drained and undrained", async () => {
    const agent = await api.world.agent({ name: "drainable" });
    const drain = (name: string) => api.data(`mutation ($id: ID!) { ${name}(input: { agentId: $id, reason: "repair" }) { ... on AgentPayload { agent { draining } } ... on DomainError { code } } }`, { id: agent.session.agentId });
    expect((await drain("drainAgent")).drainAgent).toEqual({ agent: { draining: true } });
    expect((await drain("undrainAgent")).undrainAgent).toEqual({ agent: { draining: false } });
    expect((await api.data('mutation { drainAgent(input: { agentId: "agt_00000000000000000000000000" }) { __typename } }')).drainAgent.__typename).toBe("NotFoundError");
  });
});
