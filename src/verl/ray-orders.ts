// What src/verl/python/ray_member.py is told, in a file.

export interface RayOrders {
  readonly attemptId: string;
  readonly rank: number;
  readonly nodes: number;
  /** Of this member. */
  readonly gpus: number;
  readonly cpus: number;
  readonly gpusInAll: number;
  /** Whether there is a cluster at all: a stand-in for the trainer needs none. */
  readonly cluster: boolean;
  /** Words that start the interpreter that has Ray. */
  readonly python: readonly string[];
  /** Where the head brings the cluster up. */
  readonly address: string;
  readonly port: number;
  /** Short; the same path on every host. */
  readonly temporaryFolder: string;
  /** Argv of the trainer; run by the head. */
  readonly trainer: readonly string[];
  /** Waits for the whole cluster. */
  readonly awaitProgram: string;
  /** Seen by all members. */
  readonly endFile: string;
  /** For the others to come, in milliseconds. */
  readonly patienceMs: number;
}
