// Progress, newest metric values and reasons for waiting of the stages a watcher sees, asked for once a second: these have no events.
//   T1. Each round asks from the step of the round before: all points in between are seen, and the cost does not grow with the run.
//   T2. At most SHOWN_STAGES stages are asked for: a wide pipeline costs the server no more than a small one.
//   T3. A round that fails is left out; the next one makes up for it.
import type { ApiClient } from "../api/client.js";
import type { NewestMetric, PipelineView, StageProgress, StageView } from "./pipeline-view.js";

const INTERVAL_MS = 1_000;
export const SHOWN_STAGES = 6;

interface Polled {
  readonly progress: StageProgress | null;
  readonly waitReasons: readonly string[];
  readonly metrics?: readonly { readonly name: string; readonly points: readonly NewestMetric[] }[];
}

export interface TelemetryPoll { stop(): void }

/** Starts asking about the current view; `onNews` after each round that answered. */
export function pollTelemetry(api: ApiClient, current: () => PipelineView | null, onNews: () => void): TelemetryPoll {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const round = async () => {
    const view = current();
    const stages = view === null ? [] : interesting(view);
    try {
      if (stages.length > 0) {
        const { document, variables } = roundQuery(stages);
        const answer = await api.call<Record<string, Polled | null>>(document, variables);
        stages.forEach((stage, index) => take(stage, answer[`s${index}`] ?? null));
        if (!stopped) onNews();
      }
    } catch {
      // T3
    }
    if (!stopped) timer = setTimeout(() => void round(), INTERVAL_MS);
  };
  timer = setTimeout(() => void round(), 200);
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** Running stages first, then waiting ones. */
function interesting(view: PipelineView): StageView[] {
  const stages = [...view.stages.values()];
  const of = (...statuses: string[]) => stages.filter(({ status }) => statuses.includes(status));
  return [...of("RUNNING"), ...of("QUEUED", "WAITING_APPROVAL")].slice(0, SHOWN_STAGES);
}

function roundQuery(stages: readonly StageView[]): { document: string; variables: Record<string, unknown> } {
  const variables: Record<string, unknown> = {};
  const parts = stages.map((stage, index) => {
    variables[`id${index}`] = stage.id;
    variables[`from${index}`] = Math.max(0, ...[...stage.metrics.values()].map(({ step }) => step)); // T1
    const metrics = stage.status === "RUNNING" ? ` metrics(fromStep: $from${index}, maxPoints: 4) { name points { step value nonFinite } }` : "";
    if (metrics === "") delete variables[`from${index}`];
    return { head: `$id${index}: ID!${metrics === "" ? "" : `, $from${index}: SafeInt`}`, body: `s${index}: stage(id: $id${index}) { progress { step totalSteps etaSeconds } waitReasons${metrics} }` };
  });
  return { document: `query Telemetry(${parts.map(({ head }) => head).join(", ")}) { ${parts.map(({ body }) => body).join(" ")} }`, variables };
}

function take(stage: StageView, polled: Polled | null): void {
  if (polled === null) return;
  stage.waitReasons = polled.waitReasons;
  if (polled.progress !== null) stage.progress = polled.progress;
  for (const { name, points } of polled.metrics ?? []) {
    for (const point of points) if (point.step >= (stage.metrics.get(name)?.step ?? -Infinity)) stage.metrics.set(name, point);
  }
}
