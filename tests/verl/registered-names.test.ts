// Estimators, losses and aggregations are taken by a release exactly where its verl registers them; src/verl/keys has that from verl's own decorators.
import { describe, expect, test } from "vitest";
import { preflight } from "../../src/verl/preflight.js";
import { KNOWN_RELEASES, registeredIn, type KnownRelease } from "../../src/verl/releases.js";
import { launchContext, release, trainParams } from "./launch.js";

const LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode";
const ESTIMATOR = "algorithm.adv_estimator";
const AGGREGATION = "actor_rollout_ref.actor.loss_agg_mode";

function found(version: KnownRelease, overrides: Record<string, string>, more: Record<string, unknown> = {}) {
  const params = trainParams({ algorithm: "grpo", batchSize: 64, answers: 8, overrides, ...more });
  return preflight({ params, release: release(version), context: launchContext(), data: null, model: null, hostCpus: null, path: "p" }).filter(({ severity }) => severity === "ERROR");
}
const codes = (...given: Parameters<typeof found>) => found(...given).map(({ code }) => code);
const inAnyRelease = (kind: "estimators" | "losses" | "aggregations") => [...new Set(KNOWN_RELEASES.flatMap((version) => registeredIn(version)[kind]))];

describe.each(KNOWN_RELEASES)("verl %s", (version) => {
  const registered = registeredIn(version);

  test.each(inAnyRelease("losses"))("loss mode %s", (name) => {
    expect(codes(version, { [LOSS]: name })).toEqual(registered.losses.includes(name) ? [] : ["UNKNOWN_CHOICE"]);
  });
  test.each(inAnyRelease("estimators"))("estimator %s", (name) => {
    expect(codes(version, { [ESTIMATOR]: name }).includes("UNKNOWN_ESTIMATOR")).toBe(!registered.estimators.includes(name));
  });
  test.each(inAnyRelease("aggregations"))("aggregation %s", (name) => {
    expect(codes(version, { [AGGREGATION]: name })).toEqual(registered.aggregations.includes(name) ? [] : ["UNKNOWN_CHOICE"]);
  });
});

test("a name of a later release says which have it, a misspelt one which is nearest", () => {
  expect(found("0.8.0", { [LOSS]: "dro" })).toMatchObject([{ message: 'verl 0.8.0 has no loss mode "dro".', hint: expect.stringContaining("0.9.0, 0.9.1 have it: set verl.") as string }]);
  expect(found("0.7.0", { [ESTIMATOR]: "gdpo" })).toMatchObject([{ message: 'verl 0.7.0 has no advantage estimator "gdpo".', hint: expect.stringContaining("0.7.1, 0.8.0, 0.9.0, 0.9.1 have it") as string }]);
  expect(found("0.7.1", { [LOSS]: "kl_kov" })).toMatchObject([{ hint: expect.stringContaining('Did you mean "kl_cov"?') as string }]);
});

test("names of the user's own are taken where modules of the user's own are imported, as verl itself offers it", () => {
  const env = { VERL_USE_EXTERNAL_MODULES: "my_losses" };
  expect(codes("0.7.1", { [LOSS]: "mine" })).toEqual(["UNKNOWN_CHOICE"]);
  expect(codes("0.7.1", { [LOSS]: "mine" }, { env })).toEqual([]);
  expect(codes("0.7.1", { [ESTIMATOR]: "mine" }, { env })).toEqual([]);
});
