// Real processes, `kill -9` at named points, agents over HTTPS. TRAINYARD_CHAOS=full runs every point at its first, second and fifth hit.
import { failpointSuite } from "./failpoint-suite.js";
import "../support/built-cli.js"; // has the command line built before the workers start

failpointSuite("https");
