import fc from "fast-check";
import { expect, test } from "vitest";
import { ANOMALY_KINDS, ANOMALY_SEVERITIES } from "../../../../src/domain/training/health/anomaly.js";
import { decideAction, HARD_KINDS, type HealthPolicy } from "../../../../src/domain/training/health/decide-action.js";
import { trainParamsSchema } from "../../../../src/domain/training/train-params.js";

const DEFAULTS = trainParamsSchema.shape.health.parse(undefined);
const policy = (rest: Partial<HealthPolicy>): HealthPolicy => ({ ...DEFAULTS, ...rest });

test.each([
  ["NON_FINITE", "CRITICAL", {}, 0, "STOPPED"],
  ["NON_FINITE", "CRITICAL", { onNonFinite: "notify" }, 0, "NOTIFIED"],
  ["NON_FINITE", "CRITICAL", { onNonFinite: "rollback" }, 1, "ROLLED_BACK"],
  ["NON_FINITE", "CRITICAL", { onNonFinite: "rollback" }, 2, "STOPPED"],
  ["NON_FINITE", "CRITICAL", { onNonFinite: "rollback", budget: 0 }, 0, "STOPPED"],
  ["NON_FINITE", "HIGH", {}, 0, "NOTIFIED"],
  ["KL_EXPLOSION", "CRITICAL", {}, 0, "NOTIFIED"],
  ["KL_EXPLOSION", "HIGH", { onDivergence: "stop" }, 0, "STOPPED"],
  ["KL_EXPLOSION", "MEDIUM", { onDivergence: "stop" }, 0, "NOTIFIED"],
  ["GRADIENT_EXPLOSION", "HIGH", { onDivergence: "rollback" }, 0, "ROLLED_BACK"],
  ["REWARD_COLLAPSE", "CRITICAL", { onDivergence: "rollback" }, 5, "STOPPED"],
  ["ENTROPY_COLLAPSE", "HIGH", { onDivergence: "stop", onNonFinite: "stop" }, 0, "NOTIFIED"],
  ["OUT_OF_MEMORY", "HIGH", { onDivergence: "stop" }, 0, "NOTIFIED"],
] as const)("%s of severity %s under %o with %i rollbacks behind is %s", (kind, severity, rest, budgetUsed, action) => {
  expect(decideAction({ kind, severity }, policy(rest), { budgetUsed })).toMatchObject({ action, would: null });
});

test("without a complete checkpoint before it a rollback is a stop; with one its step is named", () => {
  const anomaly = { kind: "NON_FINITE", severity: "CRITICAL" } as const;
  expect(decideAction(anomaly, policy({ onNonFinite: "rollback" }), { budgetUsed: 0, checkpointStep: null })).toMatchObject({ action: "STOPPED", reason: expect.stringContaining("no complete checkpoint") });
  expect(decideAction(anomaly, policy({ onNonFinite: "rollback" }), { budgetUsed: 0, checkpointStep: 40 })).toEqual({ action: "ROLLED_BACK", would: null, reason: "health.onNonFinite is rollback: 1 of 2, to step 40." });
});

const anyPolicy = fc.record({ onNonFinite: fc.constantFrom("notify", "stop", "rollback"), onDivergence: fc.constantFrom("notify", "stop", "rollback"), budget: fc.nat(3), shadow: fc.constant(false) });

test("in shadow nothing is ever done, and what is said is what would have been done", () => {
  fc.assert(fc.property(fc.constantFrom(...ANOMALY_KINDS), fc.constantFrom(...ANOMALY_SEVERITIES), anyPolicy, fc.nat(4), (kind, severity, rules, budgetUsed) => {
    const real = decideAction({ kind, severity }, rules, { budgetUsed });
    const shadow = decideAction({ kind, severity }, { ...rules, shadow: true }, { budgetUsed });
    expect(shadow).toMatchObject({ action: "NOTIFIED", would: real.action === "NOTIFIED" ? null : real.action });
    if (real.action !== "NOTIFIED") expect(HARD_KINDS).toHaveProperty(kind);
    if (real.action === "ROLLED_BACK") expect(budgetUsed).toBeLessThan(rules.budget);
  }));
});
