// Real processes, `kill -9` at named points, agents over Redis streams. TRAINYARD_CHAOS=full runs every point at its first, second and fifth hit.
import { test } from "vitest";
import { redisIsHere } from "../support/redis.js";
import { failpointSuite } from "./failpoint-suite.js";
import "../support/built-cli.js"; // has the command line built before the workers start

if (redisIsHere) failpointSuite("streams");
else test.skip("failpoints over streams need a redis-server on PATH"); // the global setup says it aloud
