// Of the failures of several members of one attempt, the one that says most about why. Pure.
//   T1. A member that lost its peers says so, often before the one that is at fault has written its last line: what is about others gives way to what is about itself.

import type { FailureCode } from "./spec.js";
import type { Failure } from "./state.js";

/** Said by whoever was hit, whatever the cause. */
const VAGUE: readonly FailureCode[] = ["KILLED_BY_SIGNAL", "PROCESS_VANISHED", "NETWORK"];
const ABOUT_PEERS = /torch\.distributed|DistBackendError|DistStoreError|DistNetworkError|NCCL|[Gg]loo|RayActorError|ActorDiedError|Connection (?:closed|reset|refused)|Ray cluster/;
const ONLY_THE_CODE = /^The program ended with exit code \d+\.$/;

/** 0: vague, 1: an error in words, 2: a cause that has a name. */
function telling({ code, message }: Failure): number {
  if (VAGUE.includes(code) || ABOUT_PEERS.test(message) || ONLY_THE_CODE.test(message)) return 0;
  return code === "EXIT_NONZERO" ? 1 : 2;
}

/** `first`: of the member that ended badly first; it stays unless another one tells more. Of equals the lowest rank's. */
export function mostTelling(first: Failure, others: readonly Failure[]): Failure {
  return others.reduce((best, other) => (telling(other) > telling(best) ? other : best), first);
}
