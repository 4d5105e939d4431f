// Failpoints: named places at which a test makes this very process die as by `kill -9`, or freeze, to prove that others carry on.
//   F1. Without TRAINYARD_FAILPOINT at start-up every call is a no-op; nothing can be armed later.
// This variable is no setting of the product, so it is read here and not in config.ts.

const armed = /^([a-z0-9-]+):([1-9]\d*)(:freeze)?$/.exec(process.env["TRAINYARD_FAILPOINT"] ?? "");
let hitsLeft = armed === null ? 0 : Number(armed[2]);

/** Kills the own process (SIGKILL) on the n-th call with this name when TRAINYARD_FAILPOINT is "name:n", freezes it (SIGSTOP) when that is "name:n:freeze". */
export const failpoint: (name: string) => void =
  armed === null
    ? () => undefined // F1
    : (name) => {
        if (name === armed[1] && --hitsLeft === 0) process.kill(process.pid, armed[3] === undefined ? "SIGKILL" : "SIGSTOP");
      };
