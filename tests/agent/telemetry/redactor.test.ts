import fc from "fast-check";
import { expect, test } from "vitest";
import { createRedactor } from "../../../src/agent/telemetry/redactor.js";

const secret = fc.string({ minLength: 6, maxLength: 40 }).filter((text) => text.trim().length >= 6);

/** What a reader sees when the text comes in pieces and each is given out as early as it is safe. */
function streamed(text: string, cuts: readonly number[], secrets: readonly string[]): string {
  const redactor = createRedactor(secrets);
  let taken = 0;
  let out = "";
  for (const cut of [...cuts.map((at) => at % (text.length + 1)).sort((a, b) => a - b)]) {
    const safe = redactor.safeLength(text.slice(0, cut));
    if (safe <= taken) continue;
    out += redactor.redact(text.slice(taken, safe));
    taken = safe;
  }
  return out + redactor.redact(text.slice(taken));
}

test("no secret gets through, wherever the text is cut", () => {
  fc.assert(fc.property(secret, fc.string(), fc.string(), fc.array(fc.nat({ max: 200 }), { maxLength: 30 }), (value, before, after, cuts) => {
    const text = `${before}${value}${after}${value}`;
    fc.pre(!"[redacted]".includes(value));
    expect(streamed(text, cuts, [value]).replaceAll("[redacted]", "\u0000")).not.toContain(value);
  }));
});

test("cut or not, the same text is published", () => {
  fc.assert(fc.property(fc.array(secret, { minLength: 1, maxLength: 3 }), fc.array(fc.oneof(fc.string({ maxLength: 6 }), fc.constant("§")), { maxLength: 10 }), fc.array(fc.nat({ max: 200 }), { maxLength: 30 }), (secrets, parts, cuts) => {
    const text = parts.map((part, i) => (part === "§" ? (secrets[i % secrets.length] as string) : part)).join("");
    expect(streamed(text, cuts, secrets)).toBe(createRedactor(secrets).redact(text));
  }));
});

test("base64 in every alignment and URL forms are caught", () => {
  fc.assert(fc.property(secret, fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ maxLength: 5 }), (value, before, after) => {
    const bytes = Buffer.concat([before, Buffer.from(value), after]);
    const { redact } = createRedactor([value]);
    expect(redact(bytes.toString("base64"))).toContain("[redacted]");
    expect(redact(bytes.toString("base64url"))).toContain("[redacted]");
    expect(redact(`https://x/?t=${encodeURIComponent(value)}`)).toContain("[redacted]");
    expect(redact(JSON.stringify({ value }))).toContain("[redacted]");
  }));
});

test("the lines of a key in several lines are secrets each", () => {
  const key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
  expect(createRedactor([key]).redact("x hkiG9w0BAQEFAASC y")).toBe("x [redacted] y");
});

test("values too short to be secrets are left alone", () => {
  expect(createRedactor(["1", "abc"]).redact("1 abc")).toBe("1 abc");
});
