// Evaluations on an SSH host: rows are read, endpoints asked and answers scored at home; verl, and scorers of the user's, run there as programs of a real sshd's user.
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { readProcessTable } from "../../../src/agent/place/process-table.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import { agentDirectory, startAgentProcess } from "../../support/agents.js";
import { startChatServer } from "../../support/chat-server.js";
import { assign, startPeer, stop, type Peer } from "../../support/control-plane-peer.js";
import type { SshHostOfTest } from "../../support/ssh-agent-entry.js";
import { sshdForTest, startSshAgentWorld, type SshAgentOptions, type SshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";
import { callsOf, standInPython, type StandInScript } from "../../support/verl-stand-in.js";
import { evaluating, linesOf, samplesOf, sumAsked, sums } from "../evaluation/evaluation-world.js";
import { nvidiaSmi } from "../training/training-world.js";

const PATIENCE_MS = 150_000;

interface World extends SshAgentWorld {
  /** The data directory, at home. */
  readonly data: string;
  /** Params by which the stand-in for verl's Python runs there. */
  python(script?: Partial<StandInScript>): { readonly python: string; readonly env: Record<string, string> };
  /** Modules with which it was started. */
  calls(): (string | undefined)[];
  run(assignment: Assignment): ReturnType<typeof endOf>;
}

async function startWorld(neighbours: readonly string[] = [], around?: SshAgentOptions["around"]): Promise<World> {
  const sshd = await sshdForTest();
  const data = mkdtempSync(join(inject("runFolder"), "data-"));
  writeFileSync(join(data, "sums.jsonl"), sums(30));
  const world = await startSshAgentWorld({ sshd, place: { nvidiaSmi: nvidiaSmi(sshd.folder, 1) }, settings: { TRAINYARD_DATA_DIRS: data }, neighbours, ...(around === undefined ? {} : { around }) });
  return Object.assign(world, {
    data,
    python: (script: Partial<StandInScript> = {}) => playing(sshd.folder, script),
    calls: () => callsOf(join(sshd.folder, "calls")).map(([, module]) => module),
    run: (assignment: Assignment) => {
      world.peer.order(assign(assignment));
      return endOf(world.peer, assignment);
    },
  });
}

function playing(folder: string, script: Partial<StandInScript>): { readonly python: string; readonly env: Record<string, string> } {
  return { python: standInPython(folder), env: { STAND_IN: JSON.stringify({ version: "0.7.1", ...script, calls: join(folder, "calls") }) } };
}
async function endOf(peer: Peer, { attemptId }: Assignment) {
  return (await peer.report("ended", attemptId, PATIENCE_MS)).outcome;
}
const onGpu = { gpus: [0], members: [{ agentName: "test", address: null, gpus: [0] }] };
const modelled = (params: Record<string, unknown>, more: object = {}) => evaluating({ model: "/models/tiny", input: "sums.jsonl", answerPattern: "#### (.+)", graceSeconds: 2, ...params }, { ...onGpu, ...more });
const TALKS = { input: "talks.jsonl", answerPattern: "(.+)", columns: { prompt: "messages", answer: "truth" } };
/** Dialogues of two lengths, in turn. */
function talks(count: number): string {
  const dialogue = (number: number, ...before: string[]) => JSON.stringify({ messages: [...before.map((content, index) => ({ role: index % 2 === 0 ? "user" : "assistant", content })), { role: "user", content: `What is ${number}?` }], truth: String(2 * number) });
  return Array.from({ length: count }, (_, number) => (number % 2 === 0 ? dialogue(number) : dialogue(number, "hello", "hi"))).join("\n");
}
const drawing = (peer: Peer, { attemptId }: Assignment) => peer.until(() => peer.logOf(attemptId).includes("loading"), "the generation server to run", PATIENCE_MS);
const livingOf = ({ attemptId }: Assignment): string[] => readProcessTable().flatMap(({ pid }) => {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(attemptId) ? [readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")] : [];
  } catch {
    return [];
  }
});
const keysOf = (peer: Peer, assignment: Assignment) => samplesOf(peer, assignment).map(({ key }) => key);

describe.skipIf(!sshdIsHere)("an evaluation on an SSH host", { timeout: 180_000 }, () => {
  test("verl draws and scores there; scorers of ours score here; scores and samples are those of a local agent", async () => {
    const world = await startWorld();
    const { peer, attemptThere, directory } = world;
    const ours = modelled(world.python());
    expect(await world.run(ours)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 1 }, sampleCount: 30, intervals: { score: { n: 30, method: "wilson" } } } });
    expect(new Set(keysOf(peer, ours)).size).toBe(30);
    expect(samplesOf(peer, ours).every(({ score }) => score === 1)).toBe(true);
    expect(peer.pointsOf(ours.attemptId).at(-2)).toEqual(["eval/score", 30, 1]);

    writeFileSync(join(world.data, "reward.py"), "def judge(*_): return 1.0\n");
    const byVerl = modelled({ ...world.python(), scorer: { verl: { file: "reward.py", function: "judge" } }, dataSource: "sums" });
    expect(await world.run(byVerl)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 1, sums: 1 }, sampleCount: 30 } });
    expect(world.calls()).toEqual(["verl.trainer.main_generation_server", "verl.trainer.main_generation_server", "verl.trainer.main_eval"]);
    const [drawn, , judged] = callsOf(join(world.sshd.folder, "calls")).map((words) => words.join(" "));
    expect(drawn).toContain(`data.output_path='${join(attemptThere(ours), "output", "drawn-1.parquet")}'`);
    expect(judged).toMatch(new RegExp(`reward\\.custom_reward_function\\.path='${join(world.there, "store")}/[0-9a-f]{64}/reward\\.py'`));
    for (const words of [drawn, judged]) expect(words).not.toContain(directory); // paths of home mean nothing there
    await expect.poll(() => readdirSync(join(attemptThere(byVerl), "output")), { timeout: 20_000 }).toEqual([]);
    expect(readdirSync(join(directory, "attempts", byVerl.pipelineId, "score", "1", "output")).sort()).toEqual(["evaluation.json", "samples.jsonl"]);
  });

  test("an agent that is killed again and again, in whichever of an evaluation's programs it is, starts none of them twice and loses and repeats nothing", async () => {
    const sshd = await sshdForTest();
    const peer = await startPeer();
    onTestFinished(() => peer.stop());
    const data = mkdtempSync(join(inject("runFolder"), "data-"));
    writeFileSync(join(data, "talks.jsonl"), talks(40));
    writeFileSync(join(data, "reward.py"), "");
    const directory = agentDirectory();
    const host: SshHostOfTest = { access: sshd.access(), workingDirectory: join(sshd.folder, "work"), nvidiaSmi: nvidiaSmi(sshd.folder, 1) };
    const assignment = modelled({ ...playing(sshd.folder, { slowMs: 300 }), ...TALKS, scorer: { verl: { file: "reward.py" } }, dataSource: "talks" });
    let over = false;
    const end = endOf(peer, assignment).finally(() => { over = true; });
    let kills = 0;
    for (let ordered = false, told = 0; !over; kills++) {
      const agent = startAgentProcess(peer.url, directory, { TRAINYARD_DATA_DIRS: data, SSH_HOST: JSON.stringify(host) }, "ssh-agent-entry.ts");
      await agent.started;
      if (!ordered) peer.order(assign(assignment));
      ordered = true;
      const before = told;
      await peer.until(() => over || (told = peer.logOf(assignment.attemptId).length + peer.reports.length) > before, "something new to be told", PATIENCE_MS); // each agent gets somewhere
      await Promise.race([end, delay(Math.random() * 800)]); // no tie to what happens next
      if (!over) await agent.kill("SIGKILL");
    }
    expect(await end, peer.logOf(assignment.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 1, talks: 1 }, sampleCount: 40 } });
    expect(kills).toBeGreaterThan(3);
    expect(callsOf(join(sshd.folder, "calls")).map(([, module]) => module)).toEqual(["verl.trainer.main_generation_server", "verl.trainer.main_generation_server", "verl.trainer.main_eval"]);
    expect(keysOf(peer, assignment)).toHaveLength(40);
    expect(new Set(keysOf(peer, assignment)).size).toBe(40);
    const log = peer.logOf(assignment.attemptId);
    expect(log.match(/drawing answers to 20 rows/g)).toHaveLength(2);
    expect(log.match(/generating/g)).toHaveLength(2);
  });

  test("dialogues of two lengths are two runs there, and connections that are cut meanwhile repeat neither and lose no answer", async () => {
    const world = await startWorld();
    const { peer, sshd, data } = world;
    writeFileSync(join(data, "talks.jsonl"), talks(40));
    let cutting: NodeJS.Timeout;
    const cut = (): void => {
      sshd.cutSessions();
      cutting = setTimeout(cut, 700 + Math.random() * 1_500); // no tie to what happens
    };
    cut();
    onTestFinished(() => clearTimeout(cutting));
    const assignment = modelled({ ...world.python(), ...TALKS, scorer: "exact" });
    const outcome = await world.run(assignment);
    clearTimeout(cutting!);
    expect(outcome, peer.logOf(assignment.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 1 }, sampleCount: 40 } });
    expect(world.calls()).toEqual(["verl.trainer.main_generation_server", "verl.trainer.main_generation_server"]);
    expect(keysOf(peer, assignment)).toHaveLength(40);
    expect(new Set(keysOf(peer, assignment)).size).toBe(40);
    const log = peer.logOf(assignment.attemptId);
    expect(log.split("generating").length - 1).toBe(2);
    expect(log.match(/drawing answers to 20 rows/g)).toHaveLength(2);
  });

  test("cancel leaves no process there or here", async () => {
    const world = await startWorld();
    const assignment = modelled(world.python({ waitFor: "/nonexistent" }));
    world.peer.order(assign(assignment));
    await drawing(world.peer, assignment);
    expect(livingOf(assignment).some((line) => line.includes("main_generation_server"))).toBe(true);
    world.peer.order(stop(assignment));
    expect(await endOf(world.peer, assignment)).toEqual({ kind: "STOPPED" });
    expect(livingOf(assignment)).toEqual([]);
  });

  test("a stop that comes while a further program is being started ends that one", async () => {
    let started: () => void = () => undefined;
    const begun = new Promise<void>((done) => { started = done; });
    const programs: unknown[] = [];
    const stopped: unknown[] = [];
    const world = await startWorld([], (place) => ({
      stop(target, graceMs) {
        stopped.push(target.launcher);
        return place.stop(target, graceMs);
      },
      async start(asked) {
        const program = await place.start(asked);
        programs.push(program.program);
        started();
        if (!asked.signal.aborted) await new Promise((aborted) => asked.signal.addEventListener("abort", aborted, { once: true })); // its answer comes after the stop
        return program;
      },
    }));
    const assignment = modelled(world.python({ waitFor: "/nonexistent" }));
    world.peer.order(assign(assignment));
    await begun;
    world.peer.order(stop(assignment));
    expect(await endOf(world.peer, assignment)).toEqual({ kind: "STOPPED" });
    expect(livingOf(assignment)).toEqual([]);
    expect(stopped).toEqual(programs); // and not the one before, which ran here and is gone
  });

  test("why it failed is told by what the program there said; what the host lacks is said before anything is drawn", async () => {
    const world = await startWorld();
    expect(await world.run(modelled(world.python({ fails: { say: "torch.OutOfMemoryError: CUDA out of memory.", exit: 1 } })))).toMatchObject({ kind: "FAILED", failure: { code: "GPU_OUT_OF_MEMORY", exitCode: 1 } });
    const drawn = world.calls().length;
    expect(await world.run(modelled(world.python({ version: null })))).toMatchObject({ kind: "FAILED", failure: { code: "MODULE_NOT_FOUND", message: expect.stringContaining("on gpu1 has no verl, which draws the answers of a local model") as unknown } });
    expect(await world.run(modelled({ python: "/no/such/python" }))).toMatchObject({ kind: "FAILED", failure: { message: expect.stringContaining("/no/such/python") as unknown } });
    expect(world.calls()).toHaveLength(drawn);
  });

  test("an endpoint is asked from home; verl's main_eval and a scorer of the user's judge its answers there", async () => {
    const world = await startWorld();
    const { peer } = world;
    const chat = await startChatServer(({ prompt }) => ({ say: String(sumAsked(prompt) + (sumAsked(prompt) < 12 ? 1 : 0)) }));
    writeFileSync(join(world.data, "reward.py"), "");
    const endpoint = { input: "sums.jsonl", answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" } };
    const byVerl = evaluating({ ...endpoint, ...world.python(), scorer: { verl: { file: "reward.py" } }, dataSource: "sums" });
    expect(await world.run(byVerl), peer.logOf(byVerl.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 0.8, sums: 0.8 }, sampleCount: 30 } });
    expect(world.calls()).toEqual(["verl.trainer.main_eval"]);

    // It fails once, and says where it runs.
    const program = "import json, os, sys\nfor line in sys.stdin:\n    asked = json.loads(line)\n    once = os.path.join(os.environ['TRAINYARD_OUTPUT_DIR'], 'once')\n    if not os.path.exists(once):\n        open(once, 'w').close()\n        sys.exit(3)\n    print(json.dumps({'score': float(asked['response'] == asked['groundTruth']), 'extracted': os.getcwd(), 'mine': int(os.environ['MINE'])}), flush=True)\n";
    const asked = chat.asked.length;
    // What would run code of the user's beside the agent does not: this preload would end any Node that gets it.
    const byProgram = evaluating({ ...endpoint, scorer: { program: ["python3", "-c", program] }, env: { MINE: 7, NODE_OPTIONS: "--require /nonexistent.js" } });
    const outcome = await world.run(byProgram);
    expect(outcome, peer.logOf(byProgram.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 0.8, mine: 7 }, sampleCount: 30, intervals: { score: { n: 30 } } } });
    expect(chat.asked.length - asked).toBe(30);
    expect(peer.logOf(byProgram.attemptId)).toContain("the scorer's program ended with exit code 3; it is started again");
    expect(samplesOf(peer, byProgram).map(({ score }) => score).sort()).toEqual([...Array<number>(6).fill(0), ...Array<number>(24).fill(1)]);
    const file = (outcome as unknown as { outputs: { samplesFile: string } }).outputs.samplesFile;
    expect(linesOf(file)[0]!["extracted"]).toEqual([join(world.attemptThere(byProgram), "work")]);

    const broken = evaluating({ ...endpoint, scorer: { program: ["python3", "-c", "print('so so')"] } });
    expect(await world.run(broken)).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringMatching(/^the scorer's program gave no score for 5 answers in a row; the last time it (?:wrote "so so|ended)/) as unknown } });
    const absent = evaluating({ ...endpoint, scorer: { program: ["no-such-scorer"] } });
    expect(await world.run(absent)).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("no-such-scorer cannot be started") as unknown } });
  });

  test("a rehearsal needs nothing of the host, and reads what another agent on this machine prepared", async () => {
    const elsewhere = mkdtempSync(join(inject("runFolder"), "data-"));
    writeFileSync(join(elsewhere, "prepared.jsonl"), sums(30));
    const world = await startWorld([elsewhere]);
    const rehearsal = evaluating({ model: "Qwen/Qwen2.5-0.5B", input: join(elsewhere, "prepared.jsonl"), answerPattern: "#### (.+)", simulate: true, python: "/no/such/python" });
    const outcome = await world.run(rehearsal);
    expect(outcome).toMatchObject({ kind: "COMPLETED", outputs: { simulated: true, sampleCount: 30 } });
    expect(samplesOf(world.peer, rehearsal)[0]!.output).toContain("no model was asked");
  });
});
