// The plan of a specification: what would run, in which layer, waiting in which queue, needing what.
import { pipelineSchema, queueOf } from "../../domain/pipeline/spec.js";
import type { Style } from "../style.js";
import { renderTable } from "./table.js";
import { duration } from "./quantities.js";

export interface PlannedStage {
  readonly layer: number;
  readonly name: string;
  readonly kind: string;
  readonly queue: string;
  readonly gpus: number;
  readonly nodes: number;
  readonly tries: number;
  readonly timeoutSeconds: number | null;
  readonly dependsOn: readonly string[];
  readonly conditional: boolean;
}

/** Layer by layer; empty for a specification that is not valid. */
export function planOf(spec: unknown, layers: readonly (readonly string[])[]): PlannedStage[] {
  const parsed = pipelineSchema.safeParse(spec);
  if (!parsed.success) return [];
  const byName = new Map(parsed.data.stages.map((stage) => [stage.name, stage]));
  return layers.flatMap((names, index) => names.flatMap((name) => {
    const stage = byName.get(name);
    if (stage === undefined) return [];
    const { kind, resources, retry, timeoutSeconds, dependsOn, when } = stage;
    return [{ layer: index + 1, name, kind, queue: queueOf(stage), gpus: resources.gpus, nodes: resources.nodes, tries: retry.maxAttempts, timeoutSeconds: timeoutSeconds ?? null, dependsOn, conditional: when !== undefined }];
  }));
}

export function explainPlan(plan: readonly PlannedStage[], style: Style, width: number | null): string[] {
  const gpus = (stage: PlannedStage) => (stage.gpus === 0 ? "" : stage.nodes > 1 ? `${stage.nodes} × ${stage.gpus}` : String(stage.gpus));
  const rows = plan.map((stage) => [
    String(stage.layer), stage.name, stage.kind, stage.queue, gpus(stage), stage.tries > 1 ? String(stage.tries) : "",
    stage.timeoutSeconds === null ? "" : duration(stage.timeoutSeconds * 1000), [stage.dependsOn.join(", "), stage.conditional ? "(if its condition holds)" : ""].filter((part) => part !== "").join(" "),
  ]);
  const titles = ["LAYER", "STAGE", "KIND", "QUEUE", "GPUS", "TRIES", "LIMIT", "AFTER"];
  return renderTable(titles.map((title) => ({ title, align: title === "LAYER" || title === "GPUS" || title === "TRIES" ? "right" as const : "left" as const })), rows, style, width);
}
