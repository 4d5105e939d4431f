// Input by reference to the registry: used where it lies, or fetched from the control plane, and never believed unchecked.
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, inject, test } from "vitest";
import { removeOldDatasets } from "../../../src/agent/data/dataset-fetch.js";
import { newId } from "../../../src/domain/ids.js";
import { AGENT_PATHS, type ResolvedDataset } from "../../../src/protocol/messages.js";
import { exercises, manifestOf, outputsOf, preparing, SFT, startDataWorld, type DataWorld } from "./data-world.js";

interface Registered { readonly content: Buffer; readonly more?: Partial<ResolvedDataset>; send?(response: ServerResponse, content: Buffer, time: number): void }

/** The control plane's registry for these data sets; answers how often each content was asked for. */
function register(world: DataWorld, registered: Readonly<Record<string, Registered>>): { readonly sent: string[]; readonly asked: unknown[] } {
  const sent: string[] = [];
  const asked: unknown[] = [];
  const ids = new Map(Object.keys(registered).map((ref) => [ref, newId("dst")]));
  const json = (response: ServerResponse, status: number, body: unknown) => void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  world.peer.intercept = (path, response, body) => {
    if (path === AGENT_PATHS.dataset) {
      const { ref } = JSON.parse(body) as { ref: string };
      asked.push(JSON.parse(body));
      const one = registered[ref];
      if (one === undefined) json(response, 404, { code: "NOT_FOUND", message: `There is no data set ${ref}.`, retryable: false });
      else json(response, 200, { datasetId: ids.get(ref)!, name: "demo/exercises", version: 3, contentHash: createHash("sha256").update(one.content).digest("hex"), sizeBytes: one.content.length, format: "jsonl", path: null, downloadable: true, ...one.more } satisfies ResolvedDataset);
      return true;
    }
    if (path !== AGENT_PATHS.datasetContent) return false;
    const ref = [...ids].find(([, id]) => id === (JSON.parse(body) as { datasetId: string }).datasetId)![0];
    const { content, send } = registered[ref]!;
    sent.push(ref);
    if (send === undefined) response.writeHead(200, { "content-length": content.length }).end(content);
    else send(response, content, sent.length);
    return true;
  };
  return { sent, asked };
}

const fetched = (world: DataWorld) => readdirSync(join(world.directory, "datasets")).filter((name) => name !== "results");

test("a data set of the registry is fetched once and then used from here", async () => {
  const world = await startDataWorld();
  const content = Buffer.from(exercises(2_000));
  const { sent } = register(world, { "dataset:demo/exercises@3": { content } });
  const assignment = preparing({ input: "dataset:demo/exercises@3", ...SFT });
  const outputs = outputsOf(await world.run(assignment));
  expect(outputs).toMatchObject({ rows: 2_000 });
  expect(manifestOf(outputs).inputs).toMatchObject([{ name: "demo/exercises@3", sha256: createHash("sha256").update(content).digest("hex") }]);
  expect(world.peer.logOf(assignment.attemptId)).toContain(`fetching demo/exercises@3 (${content.length} bytes)`);
  expect(fetched(world)).toEqual([`${createHash("sha256").update(content).digest("hex")}.jsonl`]);
  expect(statSync(join(world.directory, "datasets", fetched(world)[0]!)).mode & 0o077).toBe(0);
  expect(outputsOf(await world.run(preparing({ input: ["dataset:demo/exercises@3"], ...SFT, seed: 2 })))).toMatchObject({ rows: 2_000 });
  expect(sent).toHaveLength(1);
});

test("gzipped content is recognised although the registry does not say so", async () => {
  const world = await startDataWorld();
  register(world, { "dataset:packed": { content: gzipSync(exercises(30)) } });
  expect(outputsOf(await world.run(preparing({ input: "dataset:packed", ...SFT })))).toMatchObject({ rows: 30, rejected: 0 });
});

test("a file of this host is used in place when it is still the registered one, otherwise it is fetched", async () => {
  const world = await startDataWorld();
  const content = exercises(40);
  const path = world.file("here.jsonl", content);
  const outside = join(mkdtempSync(join(inject("runFolder"), "outside-")), "here.jsonl");
  writeFileSync(outside, content);
  const { sent, asked } = register(world, { "dataset:here": { content: Buffer.from(content), more: { path } }, "dataset:shared": { content: Buffer.from(content), more: { elsewhere: [outside, path] } }, "dataset:outside": { content: Buffer.from(exercises(41)), more: { path: outside } } });
  const inPlace = preparing({ input: "dataset:here", ...SFT });
  outputsOf(await world.run(inPlace));
  outputsOf(await world.run(preparing({ input: "dataset:shared", ...SFT, seed: 5 })));
  expect(sent).toEqual([]);
  expect(asked[0]).toEqual({ ref: "dataset:here", sessionId: expect.stringMatching(/^ses_/) }); // by which the control plane knows whose paths to tell
  expect(world.peer.reports.find((report) => report.type === "dataset-read" && report.attemptId === inPlace.attemptId)).toMatchObject({ files: [{ path }] });
  writeFileSync(path, content.replace("apples", "grapes"));
  outputsOf(await world.run(preparing({ input: "dataset:here", ...SFT, seed: 1 })));
  expect(sent).toEqual(["dataset:here"]);
  outputsOf(await world.run(preparing({ input: "dataset:outside", ...SFT })));
  expect(sent).toEqual(["dataset:here", "dataset:outside"]);
});

test("content that is not what was registered is refused and leaves nothing", async () => {
  const world = await startDataWorld();
  const content = Buffer.from(exercises(40));
  register(world, {
    "dataset:changed": { content, send: (response, bytes) => void response.end(Buffer.from(bytes.toString().replace("apples", "grapes"))) },
    "dataset:longer": { content, send: (response, bytes) => void response.end(Buffer.concat([bytes, bytes])) },
  });
  for (const input of ["dataset:changed", "dataset:longer"]) {
    expect(await world.run(preparing({ input, ...SFT }))).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("than were registered") } });
  }
  expect(fetched(world)).toEqual([]);
});

test("a transfer that breaks off is begun again", async () => {
  const world = await startDataWorld();
  const content = Buffer.from(exercises(3_000));
  const { sent } = register(world, {
    "dataset:shaky": {
      content,
      send: (response, bytes, time) => {
        if (time === 1) response.writeHead(503, { "content-type": "application/json" }).end(JSON.stringify({ code: "UNAVAILABLE", message: "a moment", retryable: true }));
        else if (time === 2) response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 1_000), () => response.destroy());
        else response.writeHead(200, { "content-length": bytes.length }).end(bytes);
      },
    },
  });
  const assignment = preparing({ input: "dataset:shaky", ...SFT });
  expect(outputsOf(await world.run(assignment))).toMatchObject({ rows: 3_000 });
  expect(sent).toHaveLength(3);
  expect(world.peer.logOf(assignment.attemptId)).toContain("fetching it again");
});

test("an unknown data set, and one whose content nobody has, fail the stage with the way out", async () => {
  const world = await startDataWorld();
  register(world, { "dataset:elsewhere": { content: Buffer.from(exercises(3)), more: { downloadable: false } } });
  expect(await world.run(preparing({ input: "dataset:nothing", ...SFT }))).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: "There is no data set dataset:nothing.", hint: expect.stringContaining("trainyard data ls") } });
  expect(await world.run(preparing({ input: "dataset:elsewhere", ...SFT }))).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", hint: expect.stringContaining("trainyard data add") } });
});

test("a stop ends a transfer that stands still, and leaves nothing of it", async () => {
  const world = await startDataWorld();
  const content = Buffer.from(exercises(3_000));
  register(world, { "dataset:slow": { content, send: (response, bytes) => void response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 60_000)) } });
  const assignment = preparing({ input: "dataset:slow", ...SFT });
  world.peer.order({ type: "assign", assignment });
  await world.peer.until(() => world.peer.reports.some((report) => report.type === "progress" && report.step > 0), "some of it to come");
  world.peer.order({ type: "stop", attemptId: assignment.attemptId, fence: 1, cause: "CANCEL", reason: "a test stops it" });
  expect((await world.peer.report("ended", assignment.attemptId, 3_000)).outcome).toEqual({ kind: "STOPPED" });
  expect(fetched(world)).toEqual([]);
});

test("fetched data sets that nothing used are removed after their days, and what a dead agent left of a transfer", async () => {
  const datasetsRoot = mkdtempSync(join(inject("runFolder"), "datasets-"));
  const day = 86_400_000;
  const at = (name: string, ageDays: number) => {
    const path = join(datasetsRoot, name);
    writeFileSync(path, "");
    utimesSync(path, new Date(Date.now() - ageDays * day), new Date(Date.now() - ageDays * day));
    return path;
  };
  const [old, part] = [at(`${"a".repeat(64)}.jsonl`, 20), at(`${"b".repeat(64)}.jsonl.att_x.part`, 2)];
  at(`${"c".repeat(64)}.jsonl`, 10);
  at(`${"d".repeat(64)}.jsonl.att_y.part`, 0);
  at("notes", 99);
  expect((await removeOldDatasets({ datasetsRoot, keepDays: 0, now: Date.now() }))).toEqual([part]);
  expect((await removeOldDatasets({ datasetsRoot, keepDays: 14, now: Date.now() }))).toEqual([old]);
  expect(readdirSync(datasetsRoot)).toHaveLength(3);
});
