// Trainings on an SSH host: a real sshd, programs in sessions of their own there, and the stand-in for verl in verl's place. Data lie at home, the model on the host.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { readProcessTable } from "../../../src/agent/place/process-table.js";
import { newId } from "../../../src/domain/ids.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import { SCENARIO_VARIABLE } from "../../../src/simulation/stand-in.js";
import { agentDirectory, startAgentProcess } from "../../support/agents.js";
import { assign, commandAssignment, startPeer, stop, type Peer } from "../../support/control-plane-peer.js";
import type { SshHostOfTest } from "../../support/ssh-agent-entry.js";
import { sshdForTest, startSshAgentWorld, type SshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";
import { verlPython } from "../../support/verl-python.js";
import { nvidiaSmi, trainAssignment, trainingFolder, trainingInputs } from "../training/training-world.js";

const PATIENCE_MS = 120_000;

interface World extends SshAgentWorld {
  /** Files of home. */
  readonly folder: string;
  readonly sft: Record<string, unknown>;
  readonly grpo: Record<string, unknown>;
}

async function startWorld(neighbours: readonly string[] = []): Promise<World> {
  const sshd = await sshdForTest();
  const folder = trainingFolder();
  const { model } = await trainingInputs(folder);
  const onHost = join(sshd.folder, "model");
  mkdirSync(onHost);
  writeFileSync(join(onHost, "config.json"), readFileSync(join(model, "config.json")));
  const world = await startSshAgentWorld({ sshd, place: { nvidiaSmi: nvidiaSmi(sshd.folder, 1) }, settings: { TRAINYARD_AGENT_PYTHON: verlPython(sshd.folder), TRAINYARD_DATA_DIRS: folder, TRAINYARD_AGENT_CPUS: "16" }, cpus: 16, neighbours });
  const common = { model: onHost, batchSize: 16, saveEvery: 2, graceSeconds: 5 };
  return Object.assign(world, {
    folder, sft: { ...common, algorithm: "sft", trainFiles: "sft.parquet", epochs: 2 },
    grpo: { ...common, algorithm: "grpo", trainFiles: "rl.parquet", valFiles: ["rl.parquet"], answers: 4, maxPromptLength: 64, maxResponseLength: 64, epochs: 1, export: "none" },
  });
}

const scenario = (params: Record<string, unknown>, of: Record<string, unknown> = {}) => ({ ...params, env: { [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 50, ...of }) } });
const stepsOf = (peer: Peer, { attemptId }: Assignment, name: string) => peer.pointsOf(attemptId).filter(([metric]) => metric === name).map(([, step]) => step);
const checkpointsOf = (peer: Peer, { attemptId }: Assignment) => peer.reports.flatMap((report) => (report.type === "checkpoint" && report.attemptId === attemptId ? [report] : []));
const repeated = (peer: Peer, { attemptId }: Assignment) => {
  const seen = new Map<string, number>();
  for (const [name, step] of peer.pointsOf(attemptId)) seen.set(`${name}@${step}`, (seen.get(`${name}@${step}`) ?? 0) + 1);
  return [...seen].filter(([, count]) => count > 1).map(([key]) => key);
};
const ended = async (world: World, assignment: Assignment) => {
  const { outcome } = await world.peer.report("ended", assignment.attemptId, PATIENCE_MS);
  return outcome;
};
const completed = async (world: World, assignment: Assignment) => {
  const outcome = await ended(world, assignment);
  expect(outcome, `${JSON.stringify(outcome)}\n${world.peer.logOf(assignment.attemptId).slice(-3_000)}`).toMatchObject({ kind: "COMPLETED" });
  return (outcome as { outputs: Record<string, unknown> }).outputs;
};
/** Files below a folder of home that have content. */
const filled = (folder: string): string[] => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).filter((path) => statSync(path).size > 0);

describe.skipIf(!sshdIsHere)("a training on an SSH host", { timeout: 240_000 }, () => {
  test("trains, exports, merges, is scored and tidied there; metrics, log and what is where arrive here", async () => {
    const world = await startWorld();
    const { peer, directory, attemptThere } = world;
    const train = trainAssignment(scenario(world.sft));
    peer.order(assign(train));
    const outputs = await completed(world, train);
    const there = attemptThere(train);
    expect(outputs).toMatchObject({ steps: 8, checkpoint: join(there, "output", "checkpoints", "global_step_8"), model: join(there, "output", "model") });
    for (const path of [outputs["checkpoint"], outputs["model"]]) expect(existsSync(path as string)).toBe(true);
    expect(stepsOf(peer, train, "train/loss")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(repeated(peer, train)).toEqual([]);
    expect(checkpointsOf(peer, train).map(({ step, path }) => [step, path])).toEqual([2, 4, 6, 8].map((step) => [step, join(there, "output", "checkpoints", `global_step_${step}`)]));
    expect(checkpointsOf(peer, train).every(({ sizeBytes }) => (sizeBytes ?? 0) > 4_096)).toBe(true);
    expect(peer.reports.findLast(({ type }) => type === "progress")).toMatchObject({ step: 8, totalSteps: 8 });
    expect(peer.logOf(train.attemptId)).toContain("SIMULATED RUN");
    const home = join(directory, "attempts", train.pipelineId, train.stage, "1");
    expect(readFileSync(join(home, "stdout"))).toEqual(readFileSync(join(there, "stdout"))); // not a byte lost
    expect(filled(join(home, "output"))).toEqual([]); // weights stay there
    expect(filled(join(world.there, "store")).map((path) => path.slice(path.lastIndexOf("/") + 1)).sort()).toEqual(["compose_config.py", "export_model.py", "sft.parquet"]);

    const merge: Assignment = { ...trainAssignment({ checkpoint: outputs["checkpoint"] as string }), kind: "merge", stage: "merge", pipelineId: train.pipelineId };
    peer.order(assign(merge));
    const { model } = await completed(world, merge);
    expect(model).toBe(join(attemptThere(merge), "output", "model"));
    expect(existsSync(join(model as string, "model.safetensors"))).toBe(true);

    const program = `import json, os; open(os.environ["TRAINYARD_OUTPUTS_FILE"], "w").write(json.dumps({"scores": {"score": 1 if os.path.exists("${model as string}/config.json") else 0}, "sampleCount": 1}))`;
    const score = commandAssignment(["python3", "-c", program], { kind: "evaluate", stage: "score", pipelineId: train.pipelineId, params: { checkpoint: outputs["checkpoint"] as string } });
    peer.order(assign(score));
    expect(await completed(world, score)).toMatchObject({ scores: { score: 1 }, simulated: true }); // the stand-in's mark was found there

    const cleanup: Assignment = { ...trainAssignment({ stages: ["train"] }), kind: "cleanup", stage: "tidy", pipelineId: train.pipelineId, deletions: checkpointsOf(peer, train).slice(0, 2).map(({ path }) => ({ checkpointId: newId("ckp"), path })) };
    peer.order(assign(cleanup));
    expect(await completed(world, cleanup)).toMatchObject({ deleted: 2, failed: 0 });
    expect(readdirSync(join(there, "output", "checkpoints")).filter((name) => name.startsWith("global")).sort()).toEqual(["global_step_6", "global_step_8"]);
  });

  test("connections that are cut again and again lose nothing, repeat nothing and start nothing twice", async () => {
    const world = await startWorld();
    const { peer, sshd, attemptThere, directory } = world;
    const train = trainAssignment(scenario(world.sft, { stepMs: 1_000 }));
    let cutting: NodeJS.Timeout;
    const cut = (): void => {
      sshd.cutSessions();
      cutting = setTimeout(cut, 1_000 + Math.random() * 2_500); // no tie to what happens; a helper needs some tenths of a second to come back
    };
    cut();
    onTestFinished(() => clearTimeout(cutting));
    peer.order(assign(train));
    const outputs = await completed(world, train);
    clearTimeout(cutting!);
    expect(outputs).toMatchObject({ steps: 8 });
    expect(stepsOf(peer, train, "train/loss")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(repeated(peer, train)).toEqual([]);
    expect(checkpointsOf(peer, train).map(({ step }) => step)).toEqual([2, 4, 6, 8]);
    const stdout = readFileSync(join(attemptThere(train), "stdout"), "utf8");
    expect(stdout.split("SIMULATED RUN: nothing is trained here. This").length - 1).toBe(2); // the trainer once, the export once
    expect(readFileSync(join(directory, "attempts", train.pipelineId, train.stage, "1", "stdout"), "utf8")).toBe(stdout);
  });

  test("an agent that is killed, twice, is followed by one that goes on: every point once, one run", async () => {
    const sshd = await sshdForTest();
    const folder = trainingFolder();
    const { model } = await trainingInputs(folder);
    const peer = await startPeer();
    onTestFinished(() => peer.stop());
    const directory = agentDirectory();
    const host: SshHostOfTest = { access: sshd.access(), workingDirectory: join(sshd.folder, "work") };
    const start = async () => {
      const agent = startAgentProcess(peer.url, directory, { TRAINYARD_AGENT_PYTHON: verlPython(sshd.folder), TRAINYARD_DATA_DIRS: folder, SSH_HOST: JSON.stringify(host) }, "ssh-agent-entry.ts");
      await agent.started;
      return agent;
    };
    const train = trainAssignment(scenario({ algorithm: "sft", model, trainFiles: "sft.parquet", batchSize: 16, saveEvery: 2, epochs: 2, export: "none" }, { stepMs: 1_000 }));
    let agent = await start();
    peer.order(assign(train));
    for (const step of [2, 5]) {
      await peer.until(() => stepsOf(peer, train, "train/loss").includes(step), `step ${step}`, PATIENCE_MS);
      await agent.kill("SIGKILL");
      agent = await start();
    }
    const { outcome } = await peer.report("ended", train.attemptId, PATIENCE_MS);
    expect(outcome, peer.logOf(train.attemptId).slice(-2_000)).toMatchObject({ kind: "COMPLETED", outputs: { steps: 8 } });
    expect(stepsOf(peer, train, "train/loss")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(repeated(peer, train)).toEqual([]);
    expect(checkpointsOf(peer, train).map(({ step }) => step)).toEqual([2, 4, 6, 8]);
    expect(peer.logOf(train.attemptId).split("SIMULATED RUN").length - 1).toBe(1);
  });

  test("what a preprocess stage made at home is brought to the training there", async () => {
    const world = await startWorld();
    const { peer, folder } = world;
    writeFileSync(join(folder, "raw.jsonl"), Array.from({ length: 64 }, (_, index) => JSON.stringify({ question: `What is ${index}?`, answer: `It is ${index}.` })).join("\n"));
    const prepare: Assignment = { ...trainAssignment({ input: "raw.jsonl", task: "sft", columns: { prompt: "question", answer: "answer" } }), kind: "preprocess", stage: "prepare" };
    peer.order(assign(prepare));
    const { trainFile } = (await completed(world, prepare)) as { trainFile: string };
    expect(trainFile.startsWith(join(world.directory, "attempts"))).toBe(true);
    const train: Assignment = { ...trainAssignment(scenario({ ...world.sft, trainFiles: trainFile, epochs: 1, export: "none" })), pipelineId: prepare.pipelineId };
    peer.order(assign(train));
    expect(await completed(world, train)).toMatchObject({ steps: 4 });
    const [brought] = filled(join(world.there, "store")).filter((path) => path.endsWith(".parquet"));
    expect(readFileSync(brought!)).toEqual(readFileSync(trainFile));
    const [command] = peer.reports.flatMap((report) => (report.type === "started" && report.attemptId === train.attemptId ? [report.command?.join(" ") ?? ""] : []));
    expect(command).toContain(brought);
    expect(command).not.toContain(world.directory); // as it was started there
  });

  test("what another agent on this machine prepared is brought there as well", async () => {
    const elsewhere = trainingFolder();
    const { sftFile } = await trainingInputs(elsewhere);
    const world = await startWorld([elsewhere]);
    const train = trainAssignment(scenario({ ...world.sft, trainFiles: sftFile, epochs: 1, export: "none" }));
    world.peer.order(assign(train));
    expect(await completed(world, train)).toMatchObject({ steps: 4 });
    expect(filled(join(world.there, "store")).some((path) => path.endsWith("/sft.parquet"))).toBe(true);
  });

  test("an agent that comes back takes the run over; a retry goes on from the last complete checkpoint there", async () => {
    const world = await startWorld();
    const { peer } = world;
    const params = scenario(world.sft, { stepMs: 300, incidents: [{ step: 6, kind: "crash" }] });
    const first = trainAssignment(params);
    peer.order(assign(first));
    await peer.until(() => stepsOf(peer, first, "train/loss").includes(2), "step 2", PATIENCE_MS);
    await world.restart();
    expect(await ended(world, first)).toMatchObject({ kind: "FAILED", failure: { code: "EXIT_NONZERO" } });
    expect(stepsOf(peer, first, "train/loss")).toEqual([1, 2, 3, 4, 5]);
    expect(repeated(peer, first)).toEqual([]);
    const second: Assignment = { ...first, attemptId: newId("att"), fence: 2 };
    peer.order(assign(second));
    expect(await completed(world, second)).toMatchObject({ steps: 8 });
    expect(peer.logOf(second.attemptId)).toContain(`goes on from the checkpoint of step 4 of attempt 1: ${join(world.attemptThere(first), "output", "checkpoints", "global_step_4")}`);
    expect(stepsOf(peer, second, "train/loss")).toEqual([5, 6, 7, 8]);
  });

  test("cancel leaves no process there", async () => {
    const world = await startWorld();
    const { peer } = world;
    const train = trainAssignment(scenario(world.sft, { incidents: [{ step: 2, kind: "hang" }] }));
    peer.order(assign(train));
    await peer.until(() => stepsOf(peer, train, "train/loss").includes(1), "step 1", PATIENCE_MS);
    peer.order(stop(train));
    expect(await ended(world, train)).toEqual({ kind: "STOPPED" });
    const left = readProcessTable().map(({ pid }) => pid).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`TRAINYARD_ATTEMPT_ID=${train.attemptId}`);
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
  });

  test("a training that is stopped while its host is away ends at once, and none was started", async () => {
    const world = await startWorld();
    const { peer, sshd, attemptThere } = world;
    const before = commandAssignment(["true"]);
    peer.order(assign(before));
    await completed(world, before);
    await sshd.kill();
    const train = trainAssignment(world.sft);
    peer.order(assign(train));
    await peer.until(() => existsSync(join(world.directory, "attempts", train.pipelineId, train.stage, "1")), "the attempt to begin", PATIENCE_MS);
    peer.order(stop(train));
    expect((await peer.report("ended", train.attemptId, 20_000)).outcome).toEqual({ kind: "STOPPED" });
    await sshd.start();
    const after = commandAssignment(["true"]);
    peer.order(assign(after));
    await completed(world, after);
    expect(existsSync(join(attemptThere(train), "launch.json"))).toBe(false);
  });

  test("RL brings its reward function there, and its drawn answers here; its dumps and temporary folder do not stay", async () => {
    const world = await startWorld();
    const { peer, attemptThere } = world;
    writeFileSync(join(world.folder, "reward.py"), "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1.0\n");
    const train = trainAssignment(scenario({ ...world.grpo, reward: { file: "reward.py" } }), { gpus: [0] });
    peer.order(assign(train));
    expect(await completed(world, train)).toMatchObject({ steps: 4 });
    expect(stepsOf(peer, train, "actor/pg_loss")).toEqual([1, 2, 3, 4]);
    const samples = peer.reports.flatMap((report) => (report.type === "samples" && report.attemptId === train.attemptId ? report.samples : []));
    expect(samples.length).toBeGreaterThan(0);
    expect(samples[0]).toMatchObject({ prompt: expect.any(String) as unknown, output: expect.any(String) as unknown });
    expect(filled(join(attemptThere(train), "samples"))).toEqual([]);
    expect(filled(join(world.there, "store")).some((path) => path.endsWith("/reward.py"))).toBe(true);
    await expect.poll(() => existsSync(`/tmp/ty-${train.attemptId.slice(-12)}`), { timeout: 30_000 }).toBe(false);
  });

  test("a rehearsal of a training, its merge and its evaluation runs beside the agent: the host needs neither verl nor Node, and no code of the stage runs here", async () => {
    const world = await startWorld();
    const { peer, folder, directory } = world;
    const lacking = { python: join(folder, "no-such-python"), model: "Qwen/Qwen2.5-0.5B", simulate: true };
    const params = scenario({ ...world.sft, ...lacking });
    const train = trainAssignment({ ...params, env: { ...params.env, NODE_OPTIONS: "--require /nonexistent.js" } }, { gpus: [0], members: [{ agentName: "test", address: null, gpus: [0] }] });
    peer.order(assign(train));
    const outputs = await completed(world, train);
    expect(outputs).toMatchObject({ simulated: true, steps: 8, checkpoint: join(directory, "attempts", train.pipelineId, "train", "1", "output", "checkpoints", "global_step_8") });
    expect(stepsOf(peer, train, "train/loss")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const merge: Assignment = { ...trainAssignment({ checkpoint: outputs["checkpoint"] as string, simulate: true }), kind: "merge", stage: "merge", pipelineId: train.pipelineId };
    peer.order(assign(merge));
    const { model } = await completed(world, merge);
    const evaluate: Assignment = { ...trainAssignment({ model: model as string, input: "questions.jsonl", scorer: "exact", simulate: true }), kind: "evaluate", stage: "score", pipelineId: train.pipelineId };
    writeFileSync(join(folder, "questions.jsonl"), Array.from({ length: 20 }, (_, index) => JSON.stringify({ question: `${index}?`, answer: String(index) })).join("\n"));
    peer.order(assign(evaluate));
    expect(await completed(world, evaluate)).toMatchObject({ simulated: true, sampleCount: 20 });
    expect(existsSync(join(world.there, "attempts", train.pipelineId))).toBe(false);

    const tidy: Assignment = { ...trainAssignment({ stages: ["train"] }), kind: "cleanup", stage: "tidy", pipelineId: train.pipelineId, deletions: checkpointsOf(peer, train).slice(0, 2).map(({ path }) => ({ checkpointId: newId("ckp"), path })) };
    peer.order(assign(tidy));
    expect(await completed(world, tidy)).toMatchObject({ deleted: 2, failed: 0 });
    const both = trainAssignment(params, { members: [0, 1].map((rank) => ({ agentName: `agent-${rank}`, address: "127.0.0.1", gpus: [] })) });
    peer.order(assign(both));
    expect(await ended(world, both)).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", hint: expect.stringContaining("resources.nodes") as unknown } });
    const secret = join(trainingFolder(), "secret.parquet");
    writeFileSync(secret, readFileSync(join(folder, "sft.parquet")));
    const curious = trainAssignment({ ...params, trainFiles: secret });
    peer.order(assign(curious));
    expect(await ended(world, curious)).toMatchObject({ kind: "FAILED", failure: { code: "FILE_NOT_FOUND" } }); // it lies here, and is none of the rehearsal's business
  });

  test("what is neither there nor among the data of home is refused, and no other file of home is ever sent", async () => {
    const world = await startWorld();
    const secret = join(trainingFolder(), "secret.parquet");
    writeFileSync(secret, readFileSync(join(world.folder, "sft.parquet")));
    const train = trainAssignment({ ...world.sft, trainFiles: secret });
    world.peer.order(assign(train));
    // "There" is this machine too, so that the file is found there and used in place; what matters is that it was not sent.
    await ended(world, train);
    // A relative path means home's data directories, and no way out of them.
    const wayOut = trainAssignment({ ...world.sft, trainFiles: relative(world.folder, secret) });
    world.peer.order(assign(wayOut));
    expect(await ended(world, wayOut)).toMatchObject({ kind: "FAILED", failure: { code: "FILE_NOT_FOUND" } });
    const store = join(world.there, "store");
    expect(existsSync(store) && filled(store).some((path) => path.endsWith("secret.parquet"))).toBe(false);
    const absent = trainAssignment({ ...world.sft, model: "/no/such/model" });
    world.peer.order(assign(absent));
    expect(await ended(world, absent)).toMatchObject({ kind: "FAILED", failure: { code: "FILE_NOT_FOUND", message: "params.model: there is no folder /no/such/model on gpu1." } });
  });
});
