// What the stand-in was asked to be, by the words that Python would have got.

/** What `trl dpo` starts, and our programs around trainers (src/verl/python). */
export const DPO_MODULE = "trl.scripts.dpo";
const RESUME_PROGRAM = "resume_dpo.py";
const RAY_PROGRAM = "ray_member.py";

/** How torchrun is to start its ranks. */
export interface TorchrunWords { readonly nodes: number; readonly ranksPerNode: number; readonly nodeRank: number; readonly address: string | null; readonly port: number | null; readonly module: string; readonly rest: readonly string[] }

export type Invocation =
  | { readonly kind: "torchrun"; readonly words: TorchrunWords }
  | { readonly kind: "ray member"; readonly ordersFile: string }
  | { readonly kind: "module"; readonly module: string; readonly rest: readonly string[] };

/** What Python or torchrun says about words that it does not understand; `exitCode` as theirs. */
export class UsageError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Throws UsageError. */
export function readInvocation(words: readonly string[]): Invocation {
  const from = words.findIndex((word) => word !== "-u"); // unbuffered: we always are
  const [flag, module, ...rest] = words.slice(Math.max(0, from));
  if (flag?.endsWith(`/${RESUME_PROGRAM}`) === true) return { kind: "module", module: DPO_MODULE, rest: [module ?? "", ...rest] };
  if (flag?.endsWith(`/${RAY_PROGRAM}`) === true) return { kind: "ray member", ordersFile: module ?? "" };
  if (flag !== "-m" || module === undefined) throw new UsageError("This is Trainyard's stand-in for a trainer's Python: it knows `-m module …` and no program but our own that resume DPO and bring up Ray.", 2);
  if (module === "accelerate.commands.launch") { // its processes are played by one
    const [count, processes, ...launched] = rest;
    if (count !== "--num_processes" || !/^\d+$/.test(processes ?? "")) throw new UsageError(`accelerate launch: error: unrecognized arguments: ${count ?? ""}`, 2);
    return readInvocation(launched);
  }
  return module === "torch.distributed.run" ? { kind: "torchrun", words: readTorchrun(rest) } : { kind: "module", module, rest };
}

function readTorchrun(words: readonly string[]): TorchrunWords {
  const at = words.indexOf("-m");
  const module = words[at + 1];
  if (at < 0 || module === undefined) throw new UsageError("torchrun: error: the following arguments are required: training_script, training_script_args", 2);
  const flags = new Map(words.slice(0, at).map((word): readonly [string, string] => {
    const match = /^--([\w-]+)(?:=(.*))?$/.exec(word);
    if (match === null || !FLAGS.has(match[1]!.replaceAll("-", "_"))) throw new UsageError(`torchrun: error: unrecognized arguments: ${word}`, 2);
    return [match[1]!.replaceAll("-", "_"), match[2] ?? ""];
  }));
  const standalone = flags.has("standalone");
  const number = (name: string, fallback: number): number => {
    const value = Number(flags.get(name) ?? fallback);
    if (!Number.isSafeInteger(value) || value < 0) throw new UsageError(`torchrun: error: argument --${name}: invalid value: '${flags.get(name)!}'`, 2);
    return value;
  };
  const nodes = number("nnodes", 1);
  return {
    nodes, ranksPerNode: number("nproc_per_node", 1), nodeRank: number("node_rank", 0), module, rest: words.slice(at + 2),
    address: standalone ? null : (flags.get("master_addr") ?? "127.0.0.1"), port: standalone ? null : number("master_port", 29_500),
  };
}

const FLAGS: ReadonlySet<string> = new Set(["standalone", "nnodes", "nproc_per_node", "node_rank", "master_addr", "master_port"]);
