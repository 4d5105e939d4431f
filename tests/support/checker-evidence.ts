// Gathers what the checker judges: tables by SQL of its own, agents' journals, attempt directories and the programs' own journal. Shares no query and no parser with
// the product. Everything is plain data: a planted bug is a doctored copy.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type pg from "pg";
import type { Followed } from "./checker-follower.js";
import type { ProcessesWorld } from "./processes-world.js";

type Payload = Record<string, unknown>;
export interface EventRow { position: number; pipelineId: string; seq: number; type: string; stage: string | null; payload: Payload; atMs: number }
export interface PipelineRow { id: string; name: string; status: string; seq: number; spec: { stages: { name: string; dependsOn: string[]; queue?: string; kind: string; resources: { gpus: number } }[] }; forkedFrom: string | null; createdBy: string; cancelling: unknown; error: string | null }
export interface StageRow { id: string; pipelineId: string; position: number; name: string; status: string; phase: Record<string, unknown> }
export interface AttemptRow { id: string; stageId: string; pipelineId: string; number: number; status: string }
export interface AgentRow { id: string; name: string; epoch: string; watermark: number; pools: { queues: string[]; concurrency: number }[] }
export interface LogChunkRow { stageId: string; attempt: number; fromByte: number; toByte: number; skippedBytes: number; text: string; bytes: number }
export interface PointRow { stageId: string; attempt: number; name: string; step: number; value: number }
export interface AuditRow { action: string; subject: string | null; outcome: string; input: { input?: { requestId?: string } } }
/** A line of programs/witness.sh; seconds since boot. */
export interface Deed { deed: string; pipelineId: string; stage: string; attempt: number; pid: number; at: number }
/** What a program left in its attempt's directory. */
export interface AttemptFiles { agent: string; pipelineId: string; stage: string; attempt: number; log: string; metrics: { step: number; data: Record<string, number> }[]; outputs: unknown }
export interface ReportLine { n: number; type: string; attemptId: string; fence: number; outcome?: { kind: string; outputs?: unknown } }

export interface Evidence {
  readonly pipelines: PipelineRow[];
  readonly stages: StageRow[];
  readonly attempts: AttemptRow[];
  readonly events: EventRow[];
  readonly lastPosition: number;
  readonly agents: AgentRow[];
  readonly logs: LogChunkRow[];
  readonly logEnds: { stageId: string; length: number }[];
  readonly points: PointRow[];
  readonly audit: AuditRow[];
  readonly requests: { requestId: string; pipelineId: string }[];
  /** Rows of the orphan query, in words. */
  readonly orphans: string[];
  readonly tampered: string[];
  readonly deeds: Deed[];
  readonly files: AttemptFiles[];
  /** Reports as agents journalled them, by agent name. */
  readonly journals: Record<string, { epoch: string; reports: ReportLine[] }>;
  /** What readers of telemetry were told over connections that broke. */
  readonly followed: Followed[];
  /** Spells in which an agent stood still, by its name. */
  readonly frozen: { name: string; from: number; to: number }[];
  readonly told: { pipelineId: string; seq: number; type: string }[];
  readonly submitted: { requestId: string; pipelineId: string }[];
  readonly cancelled: { pipelineId: string; position: number; at: number }[];
}

/** Reads everything. `db` may be inside a transaction that doctors the tables. */
export async function gatherEvidence(world: ProcessesWorld, db: Pick<pg.Client, "query"> = world.db): Promise<Evidence> {
  const rows = async <T extends object>(sql: string): Promise<T[]> => (await db.query<T>(sql)).rows;
  world.keepJournals();
  return {
    pipelines: await rows('select id, name, status, seq::int, spec, forked_from as "forkedFrom", created_by as "createdBy", cancelling, error from pipelines order by id'),
    stages: await rows('select id, pipeline_id as "pipelineId", position, name, status, phase from stages order by pipeline_id, position'),
    attempts: await rows('select id, stage_id as "stageId", pipeline_id as "pipelineId", number, status from attempts order by stage_id, number'),
    events: await rows('select position::int, pipeline_id as "pipelineId", seq::int, type, stage, payload, (extract(epoch from at) * 1000)::float8 as "atMs" from events order by position'),
    lastPosition: (await rows<{ position: number }>("select position::int from event_counter"))[0]!.position,
    agents: await rows("select id, name, epoch, watermark::int, pools from agents order by id"),
    logs: await rows('select stage_id as "stageId", attempt, from_byte::int as "fromByte", to_byte::int as "toByte", skipped_bytes::int as "skippedBytes", convert_from(data, \'UTF8\') as text, length(data) as bytes from log_chunks order by stage_id, from_byte'),
    logEnds: await rows('select stage_id as "stageId", log_length::int as length from stage_telemetry'),
    points: await rows('select s.stage_id as "stageId", s.attempt, s.name, p.step::int, p.value from metric_points p join metric_series s on s.id = p.series_id'),
    audit: await rows("select action, subject, outcome, input from audit order by id"),
    requests: await rows('select request_id as "requestId", pipeline_id as "pipelineId" from request_ids'),
    orphans: (await rows<{ orphan: string }>(ORPHANS)).map((row) => row.orphan),
    tampered: (await rows<{ what: string }>("select what || ': ' || before::text || ' → ' || coalesce(after::text, 'deleted') as what from chaos.tampered")).map((row) => row.what),
    deeds: readDeeds(world.witnessJournal),
    files: [...world.agents].flatMap((agent) => readAttempts(agent, join(world.agentDirectory(agent), "attempts"))),
    journals: Object.fromEntries([...world.agents].map((agent) => [agent, readJournal(world.keptJournal(agent), join(world.agentDirectory(agent), "epoch"))])),
    followed: structuredClone([...world.followed]),
    frozen: structuredClone([...world.frozen]),
    told: [...world.transcript.told],
    submitted: [...world.client.submitted],
    cancelled: [...world.client.cancelled],
  };
}

/** Invariant 10 as one statement: what is not over has something that will move it. True at every moment, so it may be asked in the middle of everything. */
const ORPHANS = `
with open as (
  select s.*, p.status as pipeline_status, p.cancelling, p.spec -> 'stages' -> s.position -> 'dependsOn' as needs, s.phase -> 'live' as live
  from stages s join pipelines p on p.id = s.pipeline_id where s.status not in ('COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED')
)
select 'stage ' || name || ' of ' || pipeline_id || ' is ' || status || ' in a pipeline that is ' || pipeline_status as orphan from open where pipeline_status in ('COMPLETED', 'FAILED', 'CANCELLED')
union all
select 'stage ' || name || ' of ' || pipeline_id || ' is PENDING and waits for nothing' from open o where status = 'PENDING'
  and not exists (select 1 from stages n where n.pipeline_id = o.pipeline_id and o.needs ? n.name and n.status not in ('COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED'))
union all
select 'stage ' || name || ' of ' || pipeline_id || ' is ' || status || ' with an attempt that no lease and no offer stand for' from open o
  where (status = 'RUNNING' or jsonb_typeof(live) = 'object')
  and exists (select 1 from jsonb_array_elements(o.live -> 'members') m where m ->> 'status' <> 'ENDED'
    and not exists (select 1 from assignments a where a.attempt_id = o.live ->> 'id' and a.agent_id = m ->> 'agentId' and a.fence = (o.live ->> 'number')::int and a.status = case m ->> 'status' when 'RUNNING' then 'RUNNING' else 'OFFERED' end))
union all
select 'stage ' || name || ' of ' || pipeline_id || ' is PAUSED although its pipeline is ' || pipeline_status from open where status = 'PAUSED' and pipeline_status <> 'PAUSED' and cancelling is null
union all
select 'pipeline ' || id || ' is ' || status || ' with every stage over' from pipelines p where status in ('PENDING', 'RUNNING', 'PAUSED')
  and not exists (select 1 from open o where o.pipeline_id = p.id)
union all
select 'attempt ' || t.id || ' has an assignment although it is ' || t.status from assignments a join attempts t on t.id = a.attempt_id where t.status not in ('OFFERED', 'RUNNING')
union all
select 'attempt ' || t.id || ' is ' || t.status || ' and its stage knows nothing of it' from attempts t join stages s on s.id = t.stage_id where t.status in ('OFFERED', 'RUNNING') and s.phase -> 'live' ->> 'id' is distinct from t.id`;

function readDeeds(file: string): Deed[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => {
    const [deed, pipelineId, stage, attempt, pid, at] = line.split(" ");
    return { deed: deed!, pipelineId: pipelineId!, stage: stage!, attempt: Number(attempt), pid: Number(pid), at: Number(at) };
  });
}

function readAttempts(agent: string, root: string): AttemptFiles[] {
  const below = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
  const text = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");
  return below(root).flatMap((pipelineId) => below(join(root, pipelineId)).flatMap((stage) => below(join(root, pipelineId, stage)).map((number) => {
    const at = join(root, pipelineId, stage, number);
    return {
      agent, pipelineId, stage, attempt: Number(number), log: text(join(at, "log")),
      metrics: text(join(at, "metrics.jsonl")).split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as AttemptFiles["metrics"][number]),
      outputs: existsSync(join(at, "outputs.json")) ? (JSON.parse(text(join(at, "outputs.json"))) as unknown) : null,
    };
  })));
}

/** Whole lines of every segment, oldest first: checksum, tab, kind, tab, JSON. A torn last line was never durable and counts for nothing. */
function readJournal(directory: string, epochFile: string): { epoch: string; reports: ReportLine[] } {
  const segments = existsSync(directory) ? readdirSync(directory).sort() : [];
  const reports = segments.flatMap((segment) => readFileSync(join(directory, segment), "utf8").split("\n").flatMap((line): ReportLine[] => {
    const [sum, kind, body] = line.split("\t");
    if (kind !== "report" || crc32(line.slice(9)).toString(16).padStart(8, "0") !== sum) return [];
    return [JSON.parse(body!) as ReportLine];
  }));
  return { epoch: existsSync(epochFile) ? readFileSync(epochFile, "utf8").trim() : "", reports };
}
