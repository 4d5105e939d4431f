// examples/simulated-grpo as a new user meets it: the built command line, a laptop without a GPU, and everything that shows the run saying that it is simulated.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { newFolder, startUp, type Up } from "../cli/support.js";

const example = packagePath("examples", "simulated-grpo", "pipeline.yaml");

let up: Up;
let folder: string;
const ends: (() => Promise<void>)[] = [];
beforeAll(async () => {
  folder = newFolder();
  writeFileSync(join(folder, "quick.json"), JSON.stringify({ stepMs: 10 }));
  up = await startUp({ atEnd: (end) => void ends.push(end) });
}, 90_000);
afterAll(async () => {
  await up?.stop();
  for (const end of ends) await end();
});

test("the example runs to its end without a GPU, and says on every side that nothing was trained", async () => {
  const submitted = await up.cli("submit", example, "--watch", "--set", `stages.train.params.env.TRAINYARD_SIMULATION=${join(folder, "quick.json")}`, "--timeout", "150s");
  expect(submitted).toMatchObject({ code: 0 });
  expect(submitted.stderr).toContain("train: simulated, nothing was trained");
  const { code, stdout } = await up.cli("logs", "simulated-grpo", "--stage", "train");
  expect([code, stdout]).toEqual([0, expect.stringContaining("SIMULATED RUN: nothing is trained")]);
  expect((await up.cli("job", "ls")).stdout).toMatch(/simulated/i);
}, 180_000);

test("--simulate makes any training run without a GPU, says so, and is refused where nothing is trained", async () => {
  const real = readFileSync(example, "utf8").replace("simulate: true", "epochs: 1").replace("kind: train\n", "kind: train\n    resources: { gpus: 8, gpuModel: H100 }\n").replaceAll("${pipeline.directory}", packagePath("examples", "simulated-grpo"));
  writeFileSync(join(folder, "real.yaml"), real);
  const submitted = await up.cli("submit", join(folder, "real.yaml"), "--simulate", "--watch", "--set", `stages.train.params.env.TRAINYARD_SIMULATION=${join(folder, "quick.json")}`, "--timeout", "150s");
  expect(submitted).toMatchObject({ code: 0 });
  expect(submitted.stderr).toContain("SIMULATED: train: a stand-in runs in the trainer's place. It trains nothing");
  writeFileSync(join(folder, "other.yaml"), "name: other\nstages: [{ name: a, kind: command, params: { run: [node, -v] } }]\n");
  expect(await up.cli("submit", join(folder, "other.yaml"), "--simulate")).toMatchObject({ code: 2, stderr: expect.stringContaining("has no train stage") as unknown });
}, 180_000);
