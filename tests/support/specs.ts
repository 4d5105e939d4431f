// Small specifications that many tests use.

type Stage = { name: string; dependsOn?: string[]; [key: string]: unknown };

/** Command stages; agents in these tests never run the argv. */
export function commands(name: string, stages: readonly Stage[]): unknown {
  return { name, stages: stages.map((stage) => ({ kind: "command", params: { run: ["true"] }, ...stage })) };
}

export const diamond = commands("diamond", [{ name: "a" }, { name: "b", dependsOn: ["a"] }, { name: "c", dependsOn: ["a"] }, { name: "d", dependsOn: ["b", "c"] }]);
export const line = commands("line", [{ name: "one" }, { name: "two", dependsOn: ["one"] }, { name: "three", dependsOn: ["two"] }]);
