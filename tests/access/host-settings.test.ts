// Variables of a host that say something of the host itself.
import { expect, test } from "vitest";
import { agentConfiguration } from "../../src/access/deployment-input.js";
import { dividedVariables } from "../../src/access/host-settings.js";

const GIVEN = { HF_HOME: "/data/hf", TRAINYARD_AGENT_ADDRESS: "10.0.0.7", TRAINYARD_AGENT_SHARED_DIR: "/mnt/shared" };

test("where other hosts reach one, and what they share, are its agent's and not its programs'", () => {
  expect(dividedVariables(GIVEN)).toEqual({ settings: { TRAINYARD_AGENT_ADDRESS: "10.0.0.7", TRAINYARD_AGENT_SHARED_DIR: "/mnt/shared" }, variables: { HF_HOME: "/data/hf" } });
  const { configuration, notes } = agentConfiguration({ url: null, pools: null, labels: null, python: null, caCertificate: null, sendNode: null }, { python_environment: null }, GIVEN);
  expect(configuration).toMatchObject(GIVEN);
  expect(configuration["TRAINYARD_AGENT_ENV"]!.split(",").filter((name) => Object.hasOwn(GIVEN, name))).toEqual(["HF_HOME"]);
  expect(notes).toEqual([]);
});
