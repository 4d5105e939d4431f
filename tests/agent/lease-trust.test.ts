import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { leaseTrust, monotonicMs, type LeaseTrust } from "../../src/agent/lease-trust.js";

const file = (): string => join(mkdtempSync(join(inject("runFolder"), "lease-")), "lease.json");
function trustIn(path: string, expired: (silentMs: number) => void = () => undefined): LeaseTrust {
  const trust = leaseTrust(path, expired);
  onTestFinished(() => trust.close());
  return trust;
}

test("trust counts from when the renewal was sent, not from its answer", () => {
  const trust = trustIn(file());
  expect(trust.trusted()).toBe(false);
  trust.renewed(monotonicMs() - 790, 1_000);
  expect(trust.trusted()).toBe(true);
  trust.renewed(monotonicMs() - 810, 1_000);
  expect(trust.trusted()).toBe(false);
});

test("the end of trust is told once, after 0.8 of the lease, and a renewal puts it off", async () => {
  const at: number[] = [];
  const since = performance.now();
  const expired = new Promise<number>((told) => {
    const trust = trustIn(file(), (silentMs) => {
      at.push(performance.now() - since);
      told(silentMs);
    });
    trust.renewed(monotonicMs(), 300);
    setTimeout(() => trust.renewed(monotonicMs(), 300), 150);
  });
  expect(await expired).toBeGreaterThanOrEqual(239);
  expect(at[0]).toBeGreaterThanOrEqual(380);
});

test("a restart keeps the trust that was left; another boot keeps none", () => {
  const path = file();
  const first = trustIn(path);
  first.renewed(monotonicMs(), 60_000);
  first.close();
  expect(trustIn(path).trusted()).toBe(true);
  writeFileSync(path, readFileSync(path, "utf8").replace(/"realm":"[^"]*"/, '"realm":"another boot"'));
  expect(trustIn(path).trusted()).toBe(false);
  writeFileSync(path, "torn");
  expect(trustIn(path).trusted()).toBe(false);
});

test("stopping for lost trust ends before the lease does", () => {
  const trust = trustIn(file());
  trust.renewed(monotonicMs(), 600_000);
  expect(0.8 * 600_000 + trust.longestGraceMs() + 0.01 * 600_000).toBeLessThan(600_000);
});
