// Conditions (`when`) and retry rules: small pure judgements that decide.ts asks for.

import { PERMANENT_CAUSES, type Condition, type RetryPolicy } from "./spec.js";
import type { Failure, Json } from "./state.js";

/** Null when the condition holds for the resolved value; otherwise why not, in words. */
export function whyNot(condition: Condition, value: Json): string | null {
  const shown = JSON.stringify(value);
  const number = typeof value === "number" ? value : null;
  const compare = (limit: number | undefined, holds: (value: number, limit: number) => boolean, words: string) =>
    limit === undefined || (number !== null && holds(number, limit)) ? null : `${condition.value} is ${shown}, not ${words} ${limit}`;
  return (
    (condition.equals !== undefined && value !== condition.equals ? `${condition.value} is ${shown}, not ${JSON.stringify(condition.equals)}` : null) ??
    (condition.notEquals !== undefined && value === condition.notEquals ? `${condition.value} is ${shown}` : null) ??
    compare(condition.atLeast, (a, b) => a >= b, "at least") ??
    compare(condition.atMost, (a, b) => a <= b, "at most") ??
    compare(condition.greaterThan, (a, b) => a > b, "greater than") ??
    compare(condition.lessThan, (a, b) => a < b, "less than") ??
    (condition.in !== undefined && !condition.in.some((allowed) => allowed === value) ? `${condition.value} is ${shown}, not one of ${JSON.stringify(condition.in)}` : null) ??
    (hasNoComparison(condition) && (value === false || value === null || value === 0 || value === "") ? `${condition.value} is ${shown}` : null)
  );
}

function hasNoComparison(condition: Condition): boolean {
  return Object.entries(condition).every(([key, value]) => key === "value" || value === undefined);
}

/** When the next try may start, in milliseconds since 1970; null when the failure is final. `tries`: those that count so far, this one included. */
export function nextTryAt(policy: RetryPolicy, tries: number, failure: Failure, at: number): number | null {
  if (tries >= policy.maxAttempts) return null;
  const retried = policy.on === undefined ? !PERMANENT_CAUSES.includes(failure.code) : policy.on.includes(failure.code);
  return retried ? at + backoffMs(policy, tries) : null;
}

/** Wait after the n-th try, in milliseconds. */
export function backoffMs(policy: RetryPolicy, tries: number): number {
  return Math.round(Math.min(policy.maxBackoffSeconds, policy.backoffSeconds * policy.backoffFactor ** (tries - 1)) * 1000);
}
