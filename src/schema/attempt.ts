// An attempt: one try of a stage on one agent (or several at once), and what went wrong with it.

import { ATTEMPT_STATUSES, type Failure } from "../domain/pipeline/state.js";
import { isId } from "../domain/ids.js";
import { Agent } from "./agent.js";
import { builder } from "./builder.js";
import type { AttemptRow, DiagnosisRow } from "./loaders.js";
import { Node, nodeKind } from "./node.js";
import { Stage } from "./stage.js";

export const AttemptStatus = builder.enumType("AttemptStatus", {
  description: "OFFERED waits for its agent to start it. LOST means that the agent went silent until its lease ran out; the program itself may have been healthy, so it is never called FAILED.",
  values: ATTEMPT_STATUSES,
});

export const StageError = builder.objectRef<Failure>("StageError").implement({
  description: "Why a stage or an attempt ended badly.",
  fields: (t) => ({
    code: t.exposeString("code", { description: "Stable, listed in docs/errors.md, e.g. EXIT_NONZERO, OUT_OF_MEMORY, TIMEOUT, AGENT_LOST." }),
    message: t.exposeString("message"),
    hint: t.exposeString("hint", { nullable: true, description: "What to do about it." }),
    exitCode: t.exposeInt("exitCode", { nullable: true }),
    logTail: t.field({ type: ["String"], description: "The end of the log; secrets are redacted.", resolve: (failure) => [...failure.logTail] }),
  }),
});

const Diagnosis = builder.objectRef<DiagnosisRow>("Diagnosis").implement({
  description: "What the scan of failed attempts found out beyond the first classification.",
  fields: (t) => ({
    cause: t.exposeString("cause"),
    evidence: t.exposeStringList("evidence", { description: "Lines and facts that it rests on." }),
    suggestion: t.exposeString("suggestion"),
    createdAt: t.field({ type: "DateTime", resolve: (row) => row.created_at }),
  }),
});

export const Attempt = builder.objectRef<AttemptRow>("Attempt");
Attempt.implement({
  description: "One try of a stage.",
  interfaces: [Node],
  fields: (t) => ({
    number: t.exposeInt("number", { description: "1 for the first try; also the fence: a report of an older attempt is refused." }),
    status: t.expose("status", { type: AttemptStatus }),
    stage: t.field({ type: Stage, resolve: async (row, _args, { loaders }) => (await loaders.stage.load(row.stage_id))! }),
    agent: t.field({ type: Agent, nullable: true, description: "The first of them when several ran it together.", resolve: (row, _args, { loaders }) => loaders.agent.load(row.agent_id) }),
    command: t.field({ type: ["String"], nullable: true, description: "Program and arguments exactly as started, secrets redacted: run it by hand to reproduce.", resolve: (row) => row.command }),
    error: t.field({ type: StageError, nullable: true, resolve: (row) => row.error }),
    diagnosis: t.field({ type: Diagnosis, nullable: true, resolve: (row, _args, { loaders }) => loaders.diagnosisOf.load(row.id) }),
    startedAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.started_at }),
    finishedAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.finished_at }),
    lastHeartbeatAt: t.field({
      type: "DateTime", nullable: true, description: "When its agent last renewed the lease; null when it is over.",
      resolve: async (row, _args, { loaders }) => (await loaders.leaseOf.load(row.id))?.renewed ?? null,
    }),
  }),
});
nodeKind("att", (id, { loaders }) => (isId("att", id) ? loaders.attempt.load(id) : Promise.resolve(null)));
