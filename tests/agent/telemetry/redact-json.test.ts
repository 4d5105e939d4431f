import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../../../src/domain/pipeline/state.js";
import { createRedactor, redactJson } from "../../../src/agent/telemetry/redactor.js";

const SECRET = "s3cr3t-väl\"ue";

test("outputs lose secrets in texts and names at any depth, and keep everything else", () => {
  const redactor = createRedactor([SECRET]);
  const outputs = { echo: SECRET, n: 1, no: null, deep: [{ [`key ${SECRET}`]: [`https://x/?k=${encodeURIComponent(SECRET)}`, true] }] };
  expect(redactJson(outputs, redactor)).toEqual({ echo: "[redacted]", n: 1, no: null, deep: [{ "key [redacted]": ["https://x/?k=[redacted]", true] }] });
});

test("without a secret in it, any JSON stays what it is", () => {
  fc.assert(fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
    const plain = JSON.parse(JSON.stringify(value)) as Json;
    expect(redactJson(plain, createRedactor(["never-in-there-0123456789"]))).toEqual(plain);
  }));
});
