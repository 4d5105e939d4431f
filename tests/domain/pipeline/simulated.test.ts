import { expect, test } from "vitest";
import { simulatedStages, simulationProblems } from "../../../src/domain/pipeline/simulated.js";

const stage = (name: string, kind: string, params: Record<string, unknown> = {}) => ({ name, kind, params });
const reads = (name: string) => `\${stages.${name}.outputs.model}`;

test("what works on something simulated is simulated, over any number of stages and in any order; what does not, is not", () => {
  const stages = [
    stage("score", "evaluate", { run: ["x", `--model=${reads("pick")}`] }), stage("pick", "command", { run: [reads("a"), reads("b")] }), stage("a", "train", { simulate: true }),
    stage("b", "train"), stage("other", "evaluate", { model: reads("b") }), stage("command", "command", { simulate: true }),
  ];
  expect([...simulatedStages(stages)].sort()).toEqual(["a", "pick", "score"]);
});

test("a stage that says of itself that it is simulated passes it on", () => {
  expect([...simulatedStages([stage("a", "evaluate", { model: "/m" }), stage("b", "command", { run: [reads("a")] })], (name) => name === "a")]).toEqual(["a", "b"]);
});

test("loading a simulated model is an error, rehearsing it is none, and a merge without simulate is warned of", () => {
  const stages = [stage("a", "train", { simulate: true }), stage("go-on", "train", { model: reads("a") }), stage("m", "merge", { checkpoint: reads("a") }), stage("e", "evaluate", { model: reads("m"), simulate: true }), null];
  expect(simulationProblems(stages).map(({ path, severity, code }) => [path, severity, code])).toEqual([["stages[1].params.model", "ERROR", "SIMULATED_MODEL"], ["stages[2].params.checkpoint", "WARNING", "SIMULATED_MODEL"]]);
});
