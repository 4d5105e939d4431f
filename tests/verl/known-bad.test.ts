// The known-bad configurations, judged by the rules: each is refused with the code that is named and a sentence that names the way out.

import { describe, expect, test } from "vitest";
import { trainParamsSchema } from "../../src/domain/training/train-params.js";
import { preflight } from "../../src/verl/preflight.js";
import { KNOWN_BAD, NO_DATA } from "./known-bad-cases.js";
import { launchContext, release, trainParams } from "./launch.js";

describe("known-bad configurations", () => {
  test.each(KNOWN_BAD)("$what is refused as $code", ({ params, code, context, data, model, hostCpus, version }) => {
    if (code === "INVALID") return void expect(trainParamsSchema.safeParse({ model: "m", trainFiles: "t", ...params }).success).toBe(false);
    const problems = preflight({
      params: trainParams(params), release: release(version), context: launchContext(context), data: data === undefined ? null : { ...NO_DATA, ...data }, model: model ?? null, hostCpus: hostCpus ?? null, path: "stages[0].params",
    });
    expect(problems.filter((found) => found.severity === "ERROR").map((found) => found.code)).toContain(code);
    for (const found of problems) expect(found.path).toMatch(/^stages\[0\]\.params\./);
  });

  test("a misspelt key names the one that was meant", () => {
    const [found] = preflight({ params: trainParams({ algorithm: "grpo", batchSize: 64, answers: 8, overrides: { "actor_rollout_ref.rollout.temprature": 0.7 } }), release: release(), context: launchContext(), data: null, model: null, hostCpus: null, path: "p" });
    expect(found).toMatchObject({ path: "p.overrides.actor_rollout_ref.rollout.temprature", hint: 'Did you mean "actor_rollout_ref.rollout.temperature"?' });
  });
});
