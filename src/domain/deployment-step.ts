// One step of an order to deploy an agent on a host, or to remove it, as it is shown while it goes on.

export interface DeploymentStep {
  /** For people: "send Node to the host". */
  readonly name: string;
  readonly state: "RUNNING" | "DONE" | "FAILED";
  /** What was found or done; null while there is nothing to say. */
  readonly detail: string | null;
  /** Of a transfer; null otherwise. */
  readonly bytesDone: number | null;
  readonly bytesTotal: number | null;
  /** Time to go, in milliseconds; null when nobody can tell. */
  readonly etaMs: number | null;
}
