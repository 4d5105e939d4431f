// Real processes, `kill -9` at named points, agents over Redis streams, FLUSHALL at a random moment of each round. TRAINYARD_CHAOS=full runs every point at its first,
// second and fifth hit.
import { describe } from "vitest";
import { redisIsHere } from "../support/redis.js";
import { failpointSuite } from "./failpoint-suite.js";
import "../support/built-cli.js"; // has the command line built before the workers start

/** The global setup says aloud when there is none. */
describe.skipIf(!redisIsHere)("with Redis", () => failpointSuite("streams"));
