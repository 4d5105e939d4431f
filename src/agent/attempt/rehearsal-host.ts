// The host of a rehearsed training or merge (simulate: true): the stand-in needs Node, so it runs beside the agent, whatever the agent's place is.
//   H1. On another machine than the place it gets nothing of the stage's environment but its scenario: what changes how programs are loaded would run the user's code there.
//   H2. Data are those of the agent's side: its data directories, what stages left there, the registry.

import { SCENARIO_VARIABLE } from "../../simulation/stand-in.js";
import type { AttemptHost } from "./attempt-host.js";

export function rehearsalHost(host: AttemptHost): AttemptHost {
  if (host.place === host.home) return host;
  return { ...host, place: host.home, sharedRoot: null, guest: { passes: (variable) => variable === SCENARIO_VARIABLE } };
}
