import fc from "fast-check";
import { expect, test } from "vitest";
import { redact } from "../../src/access/audit.js";

test("secrets are left out wherever they stand, and everything else stays", () => {
  expect(redact({ input: { name: "x", privateKey: "PEM", password: "p", apiKey: "k", nested: [{ clientSecret: "s", token: "t", keep: 1 }], spec: { stages: [{ params: { run: ["true"], env: { HF_TOKEN: "hf_x", PLAIN: "y" } } }] } } })).toEqual({
    input: { name: "x", privateKey: "[redacted]", password: "[redacted]", apiKey: "[redacted]", nested: [{ clientSecret: "[redacted]", token: "[redacted]", keep: 1 }], spec: { stages: [{ params: { run: ["true"], env: { HF_TOKEN: "[redacted]", PLAIN: "[redacted]" } } }] } },
  });
});

test("large inputs are kept as hash and size, with what is short about them", () => {
  const kept = redact({ input: { requestId: "r", spec: { name: "huge", stages: Array.from({ length: 1_000 }, (_, i) => ({ name: `stage-${i}` })) } } });
  expect(kept).toMatchObject({ large: true, bytes: expect.any(Number), sha256: expect.stringMatching(/^[0-9a-f]{64}$/), input: { requestId: "r", spec: { name: "huge" } } });
  expect(JSON.stringify(kept).length).toBeLessThan(2_000);
});

test("whatever is sent can be stored: no NUL, no half pairs, no endless depth", () => {
  fc.assert(fc.property(fc.anything({ withNullPrototype: true, maxDepth: 6 }), fc.string({ unit: "binary" }), (value, text) => {
    const stored = JSON.stringify(redact({ value, [text]: `${text}\u0000\ud800` }));
    expect(stored).not.toMatch(/\\u0000|\\ud[89a-f]/i);
    JSON.parse(stored);
  }));
  let deep: unknown = 1;
  for (let i = 0; i < 5_000; i++) deep = [deep];
  expect(JSON.stringify(redact(deep))).toContain("[too deep]");
});
