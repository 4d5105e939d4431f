// One attempt of a stage that is a program, or several, in its place (src/agent/place) or beside the agent: prepare, start, follow, collect, report. Also picks up where an earlier agent process
// stopped. What is particular to a kind of stage is its role's business (program-role.ts).
//   P1. `started` is recorded together with who the program is; before that the launch file knows.
//   P2. `ended` is recorded after everything the program wrote.
//   P3. What the program leaves running is ended before the attempt is: the next one may get its GPU.
//   P4. Who belongs to the program is looked at now and then while it runs: a child that rewrote its environment and lost its parents is known by then.
//   P5. A place that is barred is waited for like one that is away, until the attempt is to stop: then it ends without its processes, which nobody can reach, and the log of the agent says so.

import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { failpoint } from "../../failpoints.js";
import type { ProcessIdentity } from "../../process-identity.js";
import { encodeRecord, type HeldAttempt, type ProgramIdentity } from "../journal/records.js";
import { boundTo } from "../place/bound-place.js";
import { LaunchError, type Place, type StartedProgram } from "../place/place.js";
import { createLogTailer, readLogTail, type LogTailer } from "../telemetry/log-tailer.js";
import { createPublisher } from "../telemetry/publisher.js";
import { createRedactor, type Redactor } from "../telemetry/redactor.js";
import { createStreamMerger } from "../telemetry/stream-merger.js";
import { startTelemetryLoop } from "../telemetry/telemetry-loop.js";
import { attemptDirectory, claimAttemptDirectory, makeAttemptDirectory, phaseDirectory, previousOutputDirectory, type AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { programEnvironment, programMark } from "./program-environment.js";
import { failed, NeverStarted, type Phase, type ProgramPlan, type ProgramRole, type RoleContext, type RoleStep } from "./program-role.js";
import type { Outcome, RunningAttempt, StopRequest } from "./running-attempt.js";

export { graceOf } from "./program-role.js";

/** Makes the role of an attempt. Throws NeverStarted. `resumed`: a program of it was started already. */
export type RoleMaker = (host: AttemptHost, held: HeldAttempt, resumed: boolean) => ProgramRole;

/** Grace for what a program leaves running after its end, in milliseconds. */
const LEFTOVER_GRACE_MS = 5_000;
/** Interval of P4, in milliseconds. */
const MEMBERS_LOOK_MS = 10_000;
/** How long the memory of the attempt's GPUs may take to be free after its end, in milliseconds, and how often it is looked at. */
const GPU_PATIENCE_MS = 20_000;
const GPU_LOOK_MS = 1_000;

/** Runs the attempt in the place, or goes on with it. `first`: where its first program runs, when that is not the place. */
export function runProgram(host: AttemptHost, held: HeldAttempt, makeRole: RoleMaker, place: Place, first: Place = place): RunningAttempt {
  const { assignment } = held;
  const { attemptId, fence } = assignment;
  const log = host.log.child({ attemptId, stage: assignment.stage });
  const mark = programMark(assignment);
  const publisher = createPublisher(host.spool, { attemptId, fence });
  /** Where the program runs that runs, or ran last. */
  let at = first;
  let program: ProgramIdentity | null = null;
  let known: readonly ProcessIdentity[] = [];
  let stopSignal: NodeJS.Signals | null = null;
  let stopping: StopRequest | null = null;
  let tidy: () => void = () => undefined;
  let disowned = false;
  let left = false;
  let leaveNow: () => void = () => undefined;
  const leaving = new Promise<"left">((done) => { leaveNow = () => { left = true; done("left"); }; });
  const preparing = new AbortController();
  let ending: Promise<void> | null = null;
  let forsaken: Promise<void> = Promise.resolve();

  const of = { attemptId, fence } as const;
  /** What the place answers; it may be out of reach for long. Rejects when this agent leaves the attempt, and with `unlessStopped` when it is to stop. */
  const answerOf = <T>(answer: Promise<T>, unlessStopped: boolean): Promise<T> => Promise.race([
    answer,
    leaving.then(() => { throw new Error("the attempt was left"); }),
    ...(unlessStopped ? [new Promise<never>((_, stopped) => preparing.signal.addEventListener("abort", () => stopped(preparing.signal.reason as Error), { once: true }))] : []),
  ]);
  const endProgram = (graceMs: number): void => {
    if (program === null) return;
    const launcher = program;
    ending ??= at.stop({ launcher, mark, first: stopSignal, known }, graceMs).then((remaining) => {
      if (remaining.length > 0) log.error({ pids: remaining.map(({ pid }) => pid) }, "processes of the attempt do not end although they were killed; a device may hold them");
    });
    ending.catch(() => undefined); // whoever waits for it hears of it; nobody does when the agent leaves
  };
  const stop = (request: StopRequest): void => {
    stopping ??= request;
    preparing.abort();
    endProgram(request.graceMs);
    forsake();
  };
  /** P5. */
  const forsake = (): void => {
    const why = at.barred();
    if (stopping === null || why === null || left) return;
    log.error({ place: at.name }, `the attempt is ended without its processes, which may live: ${why}`);
    publisher.abandon();
    leaveNow();
    forsaken = disowned ? Promise.resolve() : report(stopping.outcome);
  };
  const unlisten = place.onChange(forsake);
  const environmentIn = (where: Place, stage: Readonly<Record<string, string>>, directory: AttemptDirectory): Record<string, string> => programEnvironment({
    inherited: where.variables, stage, assignment, directory, previousOutput: previousOutputDirectory(host.attemptsRoot, assignment), hostHasGpus: place.gpus.hostHasGpus(),
  });
  /** Starts the program. */
  const start = async (plan: ProgramPlan, outputs: StreamFiles, directory: AttemptDirectory): Promise<StartedProgram> => {
    if (stopping !== null) throw new NeverStarted((stopping as StopRequest).outcome);
    failpoint("before-spawn");
    // This process, or its host, may have stood still since the order was taken.
    if (!at.mayHaveBegun(directory) && !host.leasesTrusted()) throw new NeverStarted({ kind: "REFUSED", reason: "The agent could not renew its leases before the program was to start; another agent may have the stage by now." });
    const started = await at.start({
      argv: plan.argv, directory, outputs,
      workingDirectory: plan.workingDirectory === null ? directory.work : resolve(directory.work, plan.workingDirectory),
      environment: environmentIn(at, plan.environment, directory),
      signal: preparing.signal,
      ...(plan.reads === undefined ? {} : { reads: plan.reads }),
    }).catch((error: unknown) => {
      if (error instanceof LaunchError) throw new NeverStarted(failed(error.code, error.message));
      throw error;
    });
    failpoint("after-spawn-before-journal");
    return started;
  };

  /** Why the program left no exit status. */
  const vanished = async (speechless: boolean, directory: AttemptDirectory, redactor: Redactor): Promise<Outcome> => {
    const logTail = readLogTail(directory.logFile, redactor);
    if (program !== null && (await answerOf(at.outlived(program), false))) return failed("HOST_REBOOTED", "The host, or the container of the agent, was restarted while the program ran.", null, logTail);
    if (speechless) return failed("DISK_FULL", "The disk of this host was full: the program could not be started.", "Free space on that host.");
    return failed("PROCESS_VANISHED", "The program is gone and left no exit status: it was killed together with its launcher.", "Look in the host's kernel log for an OOM kill of the whole group.", logTail);
  };

  /** P3. The program and everything it left are gone when this resolves. */
  const clear = async ({ at: side }: Phase, logTailer: LogTailer): Promise<void> => {
    if (ending !== null) await ending;
    if (program === null || (await at.outlived(program))) return;
    const target = { launcher: program, mark, known };
    const leftovers = await at.members(target);
    if (leftovers.length > 0) {
      logTailer.notice(`the program ended and left ${leftovers.length} process${leftovers.length === 1 ? "" : "es"} running; they are ended now.`);
      await at.stop(target, LEFTOVER_GRACE_MS);
    }
    if (assignment.gpus.length === 0 || side === "home") return; // what runs at home uses none
    const until = performance.now() + GPU_PATIENCE_MS;
    for (let taken = await place.gpus.taken(assignment.gpus); taken !== null; taken = await place.gpus.taken(assignment.gpus)) {
      if (left || performance.now() >= until) {
        logTailer.notice(`after the program's end its GPUs are not free: ${taken}`);
        return;
      }
      await delay(GPU_LOOK_MS);
    }
  };

  /** Follows the program of a phase to its end. False: this agent left it running. */
  const follow = async (phase: number, role: ProgramRole, context: RoleContext, gone: Promise<void>): Promise<boolean> => {
    const { directory, redactor } = context;
    const running = role.phase(phase) as Phase;
    const merged = mergedFiles(role, directory);
    const merger = merged === null ? undefined : createStreamMerger({ ...merged, log: directory.logFile, source: held.streams ?? null });
    const logTailer = createLogTailer({ file: directory.logFile, redactor, source: held.log, publisher, ...(merger === undefined ? {} : { merger }) });
    const metrics = role.follow(phase, {
      directory, redactor, publisher, notice: (text) => logTailer.notice(text), left: leaving, giveUp: (outcome) => stop({ graceMs: role.graceMs, outcome }),
      artifact: (path) => Promise.race([at.artifact(directory, path), leaving.then(() => null)]), // what is left is published nowhere any more
    });
    const brought = role.brings?.(phase, directory) ?? { growing: [], results: [] };
    const { stdout, stderr } = outputFiles(role, running, directory);
    const own = role.outputs === "by place" ? { growing: [], results: [] } : { growing: [directory.metricsFile], results: [directory.outputsFile] }; // there they are written at home
    const following = at.follow({ growing: [...new Set([stdout, stderr]), ...own.growing, ...brought.growing], results: [...own.results, ...brought.results] }, host.fatal);
    const telemetry = startTelemetryLoop({ folder: directory.root, log: logTailer, metrics, failed: host.fatal });
    if (stopping !== null) endProgram((stopping as StopRequest).graceMs);
    if (disowned) endProgram(role.graceMs);
    const looking = setInterval(() => {
      if (program === null || ending !== null) return;
      void at.members({ launcher: program, mark, known }).then((members) => { known = members; }, () => undefined); // P4
    }, MEMBERS_LOOK_MS);
    looking.unref();
    const over = async (): Promise<void> => {
      await gone;
      failpoint("after-exit-before-report");
      await clear(running, logTailer);
      await following.caughtUp();
    };
    try {
      if ((await Promise.race([over(), leaving])) === "left") {
        publisher.abandon();
        await telemetry.halt();
        return false;
      }
    } finally {
      clearInterval(looking);
      following.close();
    }
    publisher.hurry();
    await Promise.race([telemetry.finish(), leaving]); // P2
    publisher.atLeisure();
    return !left;
  };

  const run = async (): Promise<void> => {
    const directory = attemptDirectory(host.attemptsRoot, assignment);
    const aside = held.program === null ? claimAttemptDirectory(host.attemptsRoot, assignment) : null;
    if (aside !== null) log.warn({ aside }, "the directory of an attempt that the control plane no longer knows was set aside");
    const begun = async (where: Place, files: AttemptDirectory): Promise<boolean> => where.mayHaveBegun(files) && (await answerOf(where.state(files), false)).begun;
    let resumed = held.program !== null || (await begun(first, directory));
    const role = makeRole(host, held, resumed);
    tidy = () => role.tidy?.();
    const redactor = createRedactor([...role.secrets, ...place.secrets]);
    const context: RoleContext = {
      directory, place: place === host.home ? place : boundTo(place, preparing.signal, attemptId), redactor, signal: preparing.signal,
      environmentWith: (stage) => environmentIn(place, stage, directory),
      say: (text) => (role.outputs === "by place" ? host.home : place).say(outputFiles(role, role.phase(0) as Phase, directory).stderr, `[trainyard] ${text}\n`),
    };
    const filesOf = (position: number): AttemptDirectory => phaseDirectory(directory, position, (role.phase(position) as Phase).name);
    const whereOf = (position: number): Place => ((role.phase(position) as Phase).at === "home" ? host.home : place);
    let phase = 0;
    while (role.phase(phase + 1) !== null && (await begun(whereOf(phase + 1), filesOf(phase + 1)))) phase++;
    resumed ||= phase > 0;
    let ended: number | null = null; // the phase that has ended
    let outcome: Outcome | null = null;
    if (!resumed) {
      if (assignment.gpus.length > 0) {
        const taken = await answerOf(place.gpus.taken(assignment.gpus), true);
        if (taken !== null) throw new NeverStarted({ kind: "REFUSED", reason: taken });
      }
      makeAttemptDirectory(directory);
    }
    while (outcome === null) {
      let plan: ProgramPlan;
      let gone: Promise<void>;
      if (resumed) {
        resumed = false;
        at = whereOf(phase);
        program = (phase === 0 ? held.program : null) ?? (await answerOf(at.state(filesOf(phase)), false)).program;
        plan = role.recall(phase, directory);
        log.info({ pid: (program as ProgramIdentity | null)?.pid }, "program of an earlier agent process taken over");
        gone = program === null ? Promise.resolve() : at.untilGone(program, filesOf(phase));
      } else {
        if (stopping !== null) break;
        const last = ended === null ? null : await answerOf(at.state(filesOf(ended)), false);
        const status = last?.status ?? null;
        if (ended !== null && last !== null && status === null) {
          outcome = await vanished(last.speechless, filesOf(ended), redactor);
          break;
        }
        const step: RoleStep | "left" = await Promise.race([role.next(ended, status, context), leaving]);
        if (step === "left") return;
        if ("end" in step) {
          outcome = step.end;
          break;
        }
        phase = step.phase;
        plan = step.run;
        at = whereOf(phase);
        program = null; // the one before is gone: a stop meanwhile is for the one that comes
        known = [];
        ending = null;
        const started: StartedProgram | "left" = await Promise.race([start(plan, outputFiles(role, role.phase(phase) as Phase, directory), filesOf(phase)), leaving]);
        if (started === "left") return;
        ({ program, gone } = started);
      }
      stopSignal = plan.stopSignal;
      if (!held.started) {
        const identity = program as ProgramIdentity | null;
        await host.journal.append([
          ...(identity === null ? [] : [{ vital: true, line: () => encodeRecord("program", JSON.stringify({ attemptId, program: identity })), written: () => { held.program = identity; } }]),
          ...host.spool.entries([{ ...of, type: "started", at: Date.now(), command: plan.argv.map((word) => redactor.redact(at.there(word))) }]),
        ]); // P1
      }
      if (!(await follow(phase, role, { ...context, directory }, gone)) || disowned) return;
      ended = phase;
    }
    if (left || disowned) return;
    await report((stopping as StopRequest | null)?.outcome ?? (outcome as Outcome));
  };
  const report = (outcome: Outcome): Promise<void> => host.spool.append([{ ...of, type: "ended", at: Date.now(), outcome }]);

  const done = run().finally(() => {
    unlisten();
    if (!left) tidy();
  }).catch(async (error: unknown) => {
    if (left || disowned) return;
    if (stopping !== null) return report((stopping as StopRequest).outcome);
    if (error instanceof NeverStarted) return report(error.outcome);
    log.error({ err: error }, "the attempt failed inside the agent");
    return report(failed("INTERNAL", `The agent failed: ${(error as Error).message}`.slice(0, 2_000), "This is a fault of the agent; its log says more."));
  }).then(() => forsaken).catch((error: unknown) => host.fatal(error as Error));

  return {
    done,
    stop,
    disown(graceMs) {
      disowned = true;
      publisher.abandon();
      stop({ graceMs, outcome: { kind: "STOPPED" } });
    },
    async leave() {
      leaveNow();
      preparing.abort();
      publisher.abandon();
      await done;
    },
    pids: async () => (program === null || at !== place ? [] : (await at.members({ launcher: program, mark, known })).map(({ pid }) => pid)),
  };
}

interface StreamFiles { readonly stdout: string; readonly stderr: string }

/** Where a phase's program writes. */
function outputFiles({ outputs }: ProgramRole, { at }: Phase, directory: AttemptDirectory): StreamFiles {
  if (outputs === "by stream") return { stdout: directory.stdoutFile, stderr: directory.stderrFile };
  const file = outputs === "together" ? directory.logFile : at === "home" ? directory.homeOutputFile : directory.placeOutputFile;
  return { stdout: file, stderr: file };
}

/** The two files that are merged into the log; null: programs write to it themselves. */
function mergedFiles({ outputs }: ProgramRole, directory: AttemptDirectory): StreamFiles | null {
  if (outputs === "together") return null;
  return outputs === "by stream" ? { stdout: directory.stdoutFile, stderr: directory.stderrFile } : { stdout: directory.homeOutputFile, stderr: directory.placeOutputFile };
}
