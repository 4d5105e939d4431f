// One attempt of a stage that is a program: prepare, start, follow, collect, report. Also picks up where an earlier agent process stopped.
//   P1. `started` is recorded together with who the program is; before that the launch file knows (launcher.ts).
//   P2. `ended` is recorded after everything the program wrote.
//   P3. What the program leaves running is ended before the attempt is: the next one may get its GPU.

import { statSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { commandParamsSchema, evaluateProgramParamsSchema, type FailureCode } from "../../domain/pipeline/spec.js";
import { failpoint } from "../../failpoints.js";
import { identifyProcess, isAlive, pidRealm } from "../../process-identity.js";
import { programMembers } from "../host/process-table.js";
import { stopProgram } from "../host/program-stopper.js";
import { encodeRecord, type HeldAttempt, type ProgramIdentity } from "../journal/records.js";
import { createLogTailer, readLogTail } from "../telemetry/log-tailer.js";
import { createMetricsTailer } from "../telemetry/metrics-tailer.js";
import { createPublisher } from "../telemetry/publisher.js";
import { createRedactor, redactJson, type Redactor } from "../telemetry/redactor.js";
import { startTelemetryLoop } from "../telemetry/telemetry-loop.js";
import { attemptDirectory, claimAttemptDirectory, makeAttemptDirectory, previousOutputDirectory, type AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { classifyExit } from "./exit-causes.js";
import { hasLaunched, launch, LaunchError, readExitStatus, readLaunch } from "./launcher.js";
import { checkScores, readOutputs } from "./outputs-file.js";
import { programEnvironment, programMark } from "./program-environment.js";
import type { Outcome, RunningAttempt, StopRequest } from "./running-attempt.js";
import { resolveSecrets, SecretError, type ResolvedEnvironment } from "./secrets.js";

/** Interval of looking whether an adopted program still lives, in milliseconds. */
const ADOPTED_LOOK_MS = 100;
/** Grace for what a program leaves running after its end, in milliseconds. */
const LEFTOVER_GRACE_MS = 5_000;

/** A way to end before the program ran. */
class NeverStarted extends Error {
  readonly outcome: Outcome;
  constructor(outcome: Outcome) {
    super("never started");
    this.outcome = outcome;
  }
}

interface Plan {
  readonly argv: readonly string[];
  readonly graceMs: number;
  readonly totalSteps: number | null;
  readonly workingDirectory: string | null;
  readonly environment: ResolvedEnvironment;
}

/** Runs the attempt, or goes on with it. */
export function runProgram(host: AttemptHost, held: HeldAttempt): RunningAttempt {
  const { assignment } = held;
  const { attemptId, fence } = assignment;
  const log = host.log.child({ attemptId, stage: assignment.stage });
  const mark = programMark(attemptId);
  const publisher = createPublisher(host.spool, { attemptId, fence });
  let program: ProgramIdentity | null = null;
  let stopping: StopRequest | null = null;
  let disowned = false;
  let left = false;
  let leaveNow: () => void = () => undefined;
  const leaving = new Promise<"left">((done) => { leaveNow = () => { left = true; done("left"); }; });
  let ending: Promise<void> | null = null;

  const of = { attemptId, fence } as const;
  const endProgram = (graceMs: number): void => {
    if (program === null) return;
    const launcher = program;
    ending ??= stopProgram({ launcher, mark }, graceMs).then((remaining) => {
      if (remaining.length > 0) log.error({ pids: remaining.map(({ pid }) => pid) }, "processes of the attempt do not end although they were killed; a device may hold them");
    });
  };
  const identifyLaunch = async (directory: AttemptDirectory): Promise<ProgramIdentity | null> => {
    for (;;) {
      const found = readLaunch(directory);
      if (found !== "half-written") return found;
      await delay(10);
    }
  };

  /** Starts the program; `gone` resolves when it has ended. */
  const start = async (plan: Plan, directory: AttemptDirectory): Promise<{ readonly gone: Promise<void> }> => {
    if (assignment.gpus.length > 0) {
      const taken = await host.gpusTaken(assignment.gpus);
      if (taken !== null) throw new NeverStarted({ kind: "REFUSED", reason: taken });
    }
    makeAttemptDirectory(directory);
    if (stopping !== null) throw new NeverStarted((stopping as StopRequest).outcome);
    failpoint("before-spawn");
    // This process, or its host, may have stood still since the order was taken.
    if (!hasLaunched(directory) && !host.leasesTrusted()) throw new NeverStarted({ kind: "REFUSED", reason: "The agent could not renew its leases before the program was to start; another agent may have the stage by now." });
    const launched = await launch({
      argv: plan.argv,
      directory,
      workingDirectory: plan.workingDirectory === null ? directory.work : resolve(directory.work, plan.workingDirectory),
      environment: programEnvironment({
        own: host.environment, allowed: host.inheritedVariables, stage: plan.environment.variables, assignment, directory,
        previousOutput: previousOutputDirectory(host.attemptsRoot, assignment), hostHasGpus: host.hostHasGpus(),
      }),
    }).catch((error: unknown) => {
      if (error instanceof LaunchError) throw new NeverStarted(failed(error.code, error.message));
      throw error;
    });
    failpoint("after-spawn-before-journal");
    const own = identifyProcess(launched.pid);
    program = own === null ? await identifyLaunch(directory) : { ...own, realm: pidRealm() };
    if (program === null) { // it has ended, and said nothing: another launcher was first, or it could not write
      await launched.ended;
      program = await identifyLaunch(directory);
    }
    const gone = launched.ended.then(async () => {
      const first = await identifyLaunch(directory);
      if (first === null || first.pid === launched.pid) return;
      program = first; // L2 of launcher.ts: an earlier launcher runs the program
      await untilGone(first);
    });
    return { gone };
  };
  const untilGone = async (identity: ProgramIdentity): Promise<void> => {
    while (identity.realm === pidRealm() && isAlive(identity)) await delay(ADOPTED_LOOK_MS);
  };

  const collect = (directory: AttemptDirectory, redactor: Redactor): Outcome => {
    const logTail = readLogTail(directory.logFile, redactor);
    const status = readExitStatus(directory);
    if (status === null) {
      if (statSync(directory.launchFile, { throwIfNoEntry: false })?.size === 0) return failed("DISK_FULL", "The disk of this host was full: the program could not be started.", "Free space on that host.");
      if (program !== null && program.realm !== pidRealm()) return failed("HOST_REBOOTED", "The host, or the container of the agent, was restarted while the program ran.", null, logTail);
      return failed("PROCESS_VANISHED", "The program is gone and left no exit status: it was killed together with its launcher.", "Look in the host's kernel log for an OOM kill of the whole group.", logTail);
    }
    if (status !== 0) return { kind: "FAILED", failure: { ...classifyExit(status, logTail), logTail: [...logTail] } };
    let read = readOutputs(directory.outputsFile);
    if (read.kind === "outputs" && assignment.kind === "evaluate" && assignment.rank === 0) read = checkScores(read.outputs);
    return read.kind === "outputs" ? { kind: "COMPLETED", outputs: redactJson(read.outputs, redactor) as Record<string, never> } : failed(read.code, redactor.redact(read.problem), null, logTail, 0);
  };

  const run = async (): Promise<void> => {
    const directory = attemptDirectory(host.attemptsRoot, assignment);
    const aside = held.program === null ? claimAttemptDirectory(host.attemptsRoot, assignment) : null;
    if (aside !== null) log.warn({ aside }, "the directory of an attempt that the control plane no longer knows was set aside");
    const resumed = held.program !== null || hasLaunched(directory);
    const plan = readPlan(held, host, resumed);
    const redactor = createRedactor(plan.environment.secrets);
    let gone: Promise<void>;
    if (resumed) {
      program = held.program ?? (await identifyLaunch(directory));
      log.info({ pid: program?.pid }, "program of an earlier agent process taken over");
      gone = program === null ? Promise.resolve() : untilGone(program);
    } else {
      ({ gone } = await start(plan, directory));
    }
    if (!held.started) {
      const identity = program as ProgramIdentity | null;
      await host.journal.append([
        ...(identity === null ? [] : [{ vital: true, line: () => encodeRecord("program", JSON.stringify({ attemptId, program: identity })), written: () => { held.program = identity; } }]),
        ...host.spool.entries([{ ...of, type: "started", at: Date.now(), command: plan.argv.map((word) => redactor.redact(word)) }]),
      ]); // P1
    }
    const logTailer = createLogTailer({ file: directory.logFile, redactor, source: held.log, publisher });
    const metrics = createMetricsTailer({ directory, redactor, source: held.metrics, publisher, totalSteps: plan.totalSteps, notice: (text) => logTailer.notice(text) });
    const telemetry = startTelemetryLoop({ folder: directory.root, log: logTailer, metrics, failed: host.fatal });
    if (stopping !== null) endProgram((stopping as StopRequest).graceMs);
    if (disowned) endProgram(plan.graceMs);

    if ((await Promise.race([gone, leaving])) === "left") {
      publisher.abandon();
      return telemetry.halt();
    }
    failpoint("after-exit-before-report");
    if (ending !== null) await ending;
    if (program !== null && (program as ProgramIdentity).realm === pidRealm()) {
      const leftovers = programMembers(program, mark);
      if (leftovers.length > 0) { // P3
        logTailer.notice(`the program ended and left ${leftovers.length} process${leftovers.length === 1 ? "" : "es"} running; they are ended now.`);
        await stopProgram({ launcher: program, mark }, LEFTOVER_GRACE_MS);
      }
    }
    publisher.hurry();
    await Promise.race([telemetry.finish(), leaving]); // P2
    if (left || disowned) return;
    await report((stopping as StopRequest | null)?.outcome ?? collect(directory, redactor));
  };
  const report = (outcome: Outcome): Promise<void> => host.spool.append([{ ...of, type: "ended", at: Date.now(), outcome }]);

  const done = run().catch(async (error: unknown) => {
    if (left || disowned) return;
    if (error instanceof NeverStarted) return report(error.outcome);
    log.error({ err: error }, "the attempt failed inside the agent");
    return report(failed("INTERNAL", `The agent failed: ${(error as Error).message}`.slice(0, 2_000), "This is a fault of the agent; its log says more."));
  }).catch((error: unknown) => host.fatal(error as Error));

  return {
    done,
    stop(request) {
      stopping ??= request;
      endProgram(request.graceMs);
    },
    disown(graceMs) {
      disowned = true;
      publisher.abandon();
      stopping ??= { graceMs, outcome: { kind: "STOPPED" } };
      endProgram(graceMs);
    },
    async leave() {
      leaveNow();
      publisher.abandon();
      await done;
    },
    owns: (pid) => program !== null && programMembers(program, mark).some((member) => member.pid === pid),
  };
}

/** Grace of a stage between TERM and KILL, in milliseconds. */
export function graceOf(held: HeldAttempt): number {
  const grace = (held.assignment.params as { graceSeconds?: unknown }).graceSeconds;
  return typeof grace === "number" && grace >= 0 && grace <= 3_600 ? grace * 1_000 : 30_000;
}

/** Throws NeverStarted. On a resumed attempt a secret that is gone since is only missed by the redactor. */
function readPlan(held: HeldAttempt, host: AttemptHost, resumed: boolean): Plan {
  const schema = held.assignment.kind === "evaluate" ? evaluateProgramParamsSchema : commandParamsSchema;
  const parsed = schema.safeParse(held.assignment.params);
  if (!parsed.success) {
    throw new NeverStarted(failed("INVALID_INPUT", `The stage's params are not usable after references were filled in: ${parsed.error.issues.map((issue) => `params.${issue.path.join(".")}: ${issue.message}`).join("; ")}`.slice(0, 5_000)));
  }
  const params = parsed.data;
  let environment: ResolvedEnvironment;
  try {
    environment = resolveSecrets(params.env ?? {}, { environment: host.environment, file: host.secretsFile });
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    if (!resumed) throw new NeverStarted(failed("INVALID_INPUT", error.message, "Give the agent the secret, then retry."));
    host.log.warn({ attemptId: held.assignment.attemptId }, `${error.message} Its value cannot be redacted from the rest of the log.`);
    environment = { variables: {}, secrets: [] };
  }
  const argv = params.run.map(String);
  const bad = [...argv, ...Object.values(environment.variables), params.workingDirectory ?? ""].find((text) => text.includes("\0"));
  if (bad !== undefined) throw new NeverStarted(failed("INVALID_INPUT", "An argument, variable or path holds a NUL character; no program can be given that."));
  return { argv, graceMs: params.graceSeconds * 1_000, totalSteps: params.totalSteps ?? null, workingDirectory: params.workingDirectory ?? null, environment };
}

function failed(code: FailureCode, message: string, hint: string | null = null, logTail: readonly string[] = [], exitCode: number | null = null): Outcome {
  return { kind: "FAILED", failure: { code, message, hint, exitCode, logTail: [...logTail] } };
}
