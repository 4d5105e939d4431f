// Every command with its options, as commander sees them. What a command does is imported when it runs: `trainyard --help` loads nothing else.
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import type { Cli, GlobalOptions, Surroundings } from "./cli.js";
import { EXIT_MEANINGS, type ExitCode } from "./exit-codes.js";

/** A file of commands/: what it does with its arguments; the exit code, 0 when it says nothing. */
export interface CommandModule<Options> {
  run(cli: Cli, args: readonly string[], options: Options & GlobalOptions): Promise<ExitCode | void>;
}

export interface ProgramOptions {
  readonly surroundings: Surroundings;
  readonly version: string;
  /** Told the name of the command that is about to run. */
  readonly onBegin: (name: string) => void;
  /** Told the exit code of the command that ran. */
  readonly onEnd: (code: ExitCode) => void;
}

export function buildProgram({ surroundings, version, onBegin, onEnd }: ProgramOptions): Command {
  const program = new Command("trainyard");
  program
    .description("A control plane for LLM post-training: submit pipelines, watch them live, keep agents busy.")
    .version(version, "-V, --version", "print the version")
    .addOption(new Option("--url <url>", "server to talk to (default: TRAINYARD_URL, then the server started here)"))
    .addOption(new Option("--data-dir <dir>", "directory of a server started here (default: TRAINYARD_DATA_DIR, then .trainyard)"))
    .addOption(new Option("--token-file <file>", "file that holds the token (default: TRAINYARD_TOKEN, then the data directory's own)"))
    .addOption(new Option("-o, --output <format>", "form of the data on stdout").choices(["table", "json", "yaml"]))
    .option("--json", "the same as --output json; one object a line when following")
    .option("-q, --quiet", "print ids only, and no remarks")
    .option("--no-color", "no colours, also by NO_COLOR; FORCE_COLOR forces them")
    .option("--no-input", "never ask a question")
    .showSuggestionAfterError(true)
    .showHelpAfterError("(add --help for the usage)")
    .configureHelp({ showGlobalOptions: true, sortOptions: false })
    .configureOutput({ writeOut: (text) => void surroundings.stdout.write(text), writeErr: (text) => void surroundings.stderr.write(text) })
    .addHelpText("after", () => `\nExit codes: ${EXIT_MEANINGS.map(([code, meaning]) => `${code} ${meaning}`).join("; ")}.\nBegin with: trainyard demo`)
    .exitOverride();

  const runs = <Options>(load: () => Promise<CommandModule<Options>>) => async (...parameters: unknown[]) => {
    const command = parameters.at(-1) as Command;
    const options = command.optsWithGlobals<Options & GlobalOptions>();
    onBegin(command.name());
    const [{ run }, { createCli }] = await Promise.all([load(), import("./cli.js")]);
    onEnd((await run(createCli(surroundings, options), command.args, options)) ?? 0);
  };
  const add = (parent: Command, nameAndArguments: string, description: string) => {
    const command = parent.command(nameAndArguments).description(description);
    command.allowExcessArguments(false);
    return command;
  };

  // ── a server here ────────────────────────────────────────────────────────────────────────────────
  add(program, "up", "Start everything in one directory on this machine: PostgreSQL, Redis where there is one, the control plane and an agent")
    .addOption(new Option("--port <port>", "TCP port on 127.0.0.1; 0 picks a free one (default: TRAINYARD_PORT, then 7070)").argParser(port))
    .option("--no-agent", "start no agent")
    .option("--stop-programs", "when stopped, stop running programs too; without it they go on and the next start takes them over")
    .option("-v, --verbose", "show what the stores say while they start and stop")
    .action(runs(() => import("./commands/up.js")));
  add(program, "demo", "Start everything, train two tiny language models, show it live, keep the better one")
    .addOption(new Option("--port <port>", "TCP port on 127.0.0.1 (default: 7070, or a free one)").argParser(port))
    .option("--exit", "stop everything at the end instead of leaving the server up")
    .action(runs(() => import("./commands/demo.js")));
  add(program, "server", "Run the control plane in the foreground")
    .addOption(new Option("--port <port>", "TCP port (default: TRAINYARD_PORT, then 7070)").argParser(port))
    .option("--migrate", "bring the database of DATABASE_URL to this version's schema first")
    .addOption(new Option("--supervised").hideHelp())
    .action(runs(() => import("./commands/server.js")));
  add(program, "agent", "Run an agent in the foreground: it pulls work for this machine")
    .addOption(new Option("--on-stop <mode>", "at SIGTERM or Ctrl-C: leave programs running and take them over at the next start, wait for them, or stop them").choices(["detach", "drain", "now"]).default("detach"))
    .addOption(new Option("--supervised").hideHelp())
    .action(runs(() => import("./commands/agent.js")));
  add(program, "ssh-agents", "Act for all SSH hosts in the foreground: one agent for each, over SSH (up runs it by itself)")
    .addOption(new Option("--on-stop <mode>", "at SIGTERM or Ctrl-C: leave programs running and take them over at the next start, wait for them, or stop them").choices(["detach", "drain", "now"]).default("detach"))
    .addOption(new Option("--supervised").hideHelp())
    .action(runs(() => import("./commands/ssh-agents.js")));
  add(program, "migrate", "Bring the database to this version's schema")
    .option("--check", "change nothing; exit with 1 when something is to be done")
    .action(runs(() => import("./commands/migrate.js")));
  add(program, "doctor", "Check the server, the token, the stores, the agents and this machine, and say how to fix what is wrong")
    .action(runs(() => import("./commands/doctor.js")));

  // ── pipelines ────────────────────────────────────────────────────────────────────────────────────
  add(program, "submit", "Submit a pipeline (YAML or JSON; - reads stdin)")
    .addArgument(new Argument("<file>", "the specification"))
    .option("-w, --watch", "stay and show it to its end (the default on a terminal)")
    .option("-d, --detach", "return as soon as it is stored (the default elsewhere)")
    .option("--dry-run", "check it on the server and store nothing")
    .addOption(new Option("--set <path=value>", "change the specification, e.g. stages.train.params.learningRate=1e-5; repeatable").argParser(collect))
    .option("--simulate", "run a stand-in that trains nothing in all train stages, and in the merge and evaluate stages of their models: no GPU is asked for, and every number is invented")
    .option("--request-id <id>", "submitting again with the same id gives the same pipeline (default: a new one)")
    .addOption(new Option("--timeout <duration>", "with --watch: give up watching after this, e.g. 90s, 10m, 2h").argParser(timeSpan))
    .action(runs(() => import("./commands/submit.js")));
  add(program, "validate", "Check a specification without submitting it; works without a server, and asks one where it can")
    .addArgument(new Argument("<file>", "the specification; - reads stdin"))
    .option("--explain", "print the plan: layers, queues, GPUs, retries")
    .option("--offline", "ask no server")
    .addOption(new Option("--set <path=value>", "change the specification first; repeatable").argParser(collect))
    .option("--simulate", "as submit --simulate would send it")
    .action(runs(() => import("./commands/validate.js")));
  add(program, "watch", "Show a pipeline live to its end; Ctrl-C only detaches")
    .addArgument(new Argument("<pipeline>", "id, or a name for its newest pipeline"))
    .addOption(new Option("--timeout <duration>", "give up after this, e.g. 90s, 10m, 2h").argParser(timeSpan))
    .action(runs(() => import("./commands/watch.js")));
  add(program, "ls", "List pipelines, newest first")
    .addOption(new Option("-n, --limit <count>", "at most this many").argParser(positive).default(20))
    .addOption(new Option("-s, --status <status>", "only these, e.g. running,failed; repeatable").argParser(collect))
    .option("--name <name>", "only pipelines of this name")
    .action(runs(() => import("./commands/ls.js")));
  add(program, "show", "Show a pipeline or a stage: states, reasons, errors, outputs")
    .addArgument(new Argument("<pipeline>", "id of a pipeline or stage, or a pipeline's name"))
    .addArgument(new Argument("[stage]", "one stage in detail"))
    .action(runs(() => import("./commands/show.js")));
  add(program, "logs", "Print the log of a pipeline's stages")
    .addArgument(new Argument("<pipeline>", "id of a pipeline or stage, or a pipeline's name"))
    .option("-f, --follow", "go on until the end, over lost connections too")
    .option("--stage <name>", "only this stage, and its text as it is")
    .addOption(new Option("--attempt <number>", "only this attempt").argParser(positive))
    .addOption(new Option("--tail <lines>", "only the last lines").argParser(natural))
    .option("--grep <expression>", "only lines that match this regular expression")
    .action(runs(() => import("./commands/logs.js")));
  add(program, "events", "Print the history of a pipeline, or of all")
    .addArgument(new Argument("[pipeline]", "id or name; without it, all pipelines"))
    .option("-f, --follow", "go on with what happens next")
    .addOption(new Option("--after <cursor>", "begin after this cursor"))
    .action(runs(() => import("./commands/events.js")));
  const reason = (command: Command) => command.option("--reason <text>", "for the record");
  const onPipeline = (name: string, description: string) => reason(add(program, name, description).addArgument(new Argument("<pipeline>", "id or name")));
  onPipeline("cancel", "Cancel a pipeline or one stage").option("--stage <name>", "only this stage").action(runs(() => import("./commands/cancel.js")));
  onPipeline("pause", "Stop what runs and start nothing new").action(runs(() => import("./commands/pause.js")));
  onPipeline("resume", "Go on after a pause").action(runs(() => import("./commands/resume.js")));
  onPipeline("retry", "Run failed, cancelled and skipped stages again").option("--stage <name>", "only this stage").action(runs(() => import("./commands/retry.js")));
  onPipeline("approve", "Let an approval stage pass").addArgument(new Argument("[stage]", "which one; may be left out when only one waits")).action(runs(() => import("./commands/approve.js")));
  add(program, "fork", "A new pipeline that runs one stage and all after it again, and takes over the other results")
    .addArgument(new Argument("<pipeline>", "id or name"))
    .requiredOption("--from <stage>", "the first stage that runs again")
    .addOption(new Option("--set <path=value>", "change that stage's params, e.g. learningRate=1e-5; repeatable").argParser(collect))
    .action(runs(() => import("./commands/fork.js")));

  // ── data ─────────────────────────────────────────────────────────────────────────────────────────
  const data = program.command("data").description("Data sets: files and the versions that stages made of them");
  const dataset = new Argument("<dataset>", "id, name for its newest version, or name@version");
  add(data, "add", "Upload a data file and register it; the same name again makes the next version")
    .addArgument(new Argument("<file>", "JSON Lines, JSON, CSV, TSV or Parquet; text also gzipped"))
    .option("--name <name>", "name of the data set, e.g. team/gsm8k (default: the file's name without its ending)")
    .option("--in-place", "upload nothing: the file lies in the server's data directories (TRAINYARD_DATA_DIRS)")
    .action(runs(() => import("./commands/data-add.js")));
  add(data, "ls", "List data sets, every version, newest first")
    .addArgument(new Argument("[name]", "only those whose name contains this"))
    .addOption(new Option("-n, --limit <count>", "at most this many").argParser(positive).default(20))
    .action(runs(() => import("./commands/data-ls.js")));
  add(data, "show", "Show a data set: what is in it, where it lies, which stage made it and which read it")
    .addArgument(dataset).action(runs(() => import("./commands/data-show.js")));
  add(data, "preview", "Print rows of a data set, dialogues as dialogues; with --json the rows themselves")
    .addArgument(dataset)
    .addOption(new Option("--from <row>", "number of the first row, from 0").argParser(natural).default(0))
    .addOption(new Option("--rows <count>", "how many").argParser(positive).default(5))
    .option("--full", "long texts whole")
    .action(runs(() => import("./commands/data-preview.js")));
  add(data, "stats", "Print figures of a data set: lengths in percentiles, turns, tokens, counted values")
    .addArgument(dataset).action(runs(() => import("./commands/data-stats.js")));
  add(data, "diff", "Compare two data sets: rows added and removed, columns, lengths, values, with examples")
    .addArgument(new Argument("<a>", "the earlier one, as above; alone: this version and the one before it"))
    .addArgument(new Argument("[b]", "the later one"))
    .option("--full", "long texts whole")
    .action(runs(() => import("./commands/data-diff.js")));

  // ── training ─────────────────────────────────────────────────────────────────────────────────────
  const job = program.command("job").description("Training jobs: train stages seen as the experiments that they are");
  const target = new Argument("<job>", "id of a job or stage, or a pipeline's id or name"), ofStage = new Argument("[stage]", "which train stage, where the pipeline has several");
  add(job, "ls", "List training jobs, newest first")
    .addOption(new Option("-n, --limit <count>", "at most this many").argParser(positive).default(20))
    .addOption(new Option("-s, --status <status>", "only these, e.g. running,failed; repeatable").argParser(collect))
    .option("--algorithm <name>", "only this one, e.g. grpo")
    .action(runs(() => import("./commands/job-ls.js")));
  add(job, "show", "Show a training job: progress, anomalies, newest metrics, checkpoints, scores, memory")
    .addArgument(target).addArgument(ofStage).action(runs(() => import("./commands/job-show.js")));
  add(job, "anomalies", "Print what was found wrong with a training job, what to do, and what was done")
    .addArgument(target).addArgument(ofStage).action(runs(() => import("./commands/job-anomalies.js")));
  add(job, "samples", "Print prompts and drawn answers of a training job, newest step first")
    .addArgument(target).addArgument(ofStage)
    .addOption(new Option("-n, --limit <count>", "at most this many").argParser(positive).default(5))
    .addOption(new Option("--step <number>", "only of this step").argParser(natural))
    .option("--source <source>", "only these: train or validation")
    .option("--verdict <verdict>", "only these: correct, wrong, error or unscored")
    .option("--full", "long texts whole")
    .action(runs(() => import("./commands/job-samples.js")));
  add(program, "export", "Print a training job as a shell script that reproduces it without Trainyard")
    .addArgument(target).addArgument(ofStage).action(runs(() => import("./commands/export.js")));
  const recipe = program.command("recipe").description("Recipes: published settings for a model and a number of GPUs, to begin with");
  add(recipe, "ls", "List the recipes").action(runs(() => import("./commands/recipe-ls.js")));
  add(recipe, "show", "Show a recipe: its params and where they are from").addArgument(new Argument("<name>", "of the recipe")).action(runs(() => import("./commands/recipe-show.js")));
  add(recipe, "use", "Write a recipe as a pipeline with your data filled in, or submit it")
    .addArgument(new Argument("<name>", "of the recipe"))
    .option("--data <data>", "raw data, as a path on the host or dataset:<name>: a preprocess stage prepares them")
    .option("--data-source <name>", "with raw data of reinforcement learning: what verl chooses the scorer by, e.g. openai/gsm8k")
    .addOption(new Option("--train <file>", "prepared Parquet file, instead of --data; repeatable").argParser(collect))
    .addOption(new Option("--val <file>", "prepared file to validate on; repeatable").argParser(collect))
    .option("--model <model>", "another model: a path on the host or a hub id")
    .option("--name <name>", "of the pipeline (default: the recipe's)")
    .option("--verl <version>", "check against this release of verl")
    .option("--simulate", "a stand-in that trains nothing and needs no GPU; every view says so")
    .addOption(new Option("--set <path=value>", "change the specification, e.g. stages.train.params.epochs=2; repeatable").argParser(collect))
    .option("--out <file>", "write it to this file, which must not be there yet (default: stdout)")
    .option("--submit", "submit it instead of writing it")
    .option("-w, --watch", "with --submit: stay and show it to its end")
    .action(runs(() => import("./commands/recipe-use.js")));

  // ── evaluations ──────────────────────────────────────────────────────────────────────────────────
  const evaluation = program.command("eval").description("Evaluations: scores, the rows behind them, what changed between two");
  add(evaluation, "ls", "List the evaluations of a pipeline, with the interval of their score").argument("<pipeline>", "id or name").action(runs(() => import("./commands/eval-ls.js")));
  add(evaluation, "show", "Show an evaluation: every score with interval and n, of which checkpoint, how many rows").argument("<evaluation>", "id").action(runs(() => import("./commands/eval-show.js")));
  add(evaluation, "samples", "Print the rows that were asked with their answers")
    .argument("<evaluation>", "id")
    .addOption(new Option("--verdict <verdict>", "only those").choices(["correct", "wrong", "error", "unscored"]))
    .addOption(new Option("-n, --limit <count>", "at most this many").argParser(positive).default(10))
    .option("--full", "long texts whole")
    .action(runs(() => import("./commands/eval-samples.js")));
  add(evaluation, "diff", "Compare two evaluations row by row: fixed, broken, and whether chance explains it")
    .addArgument(new Argument("<a>", "id of the earlier one")).addArgument(new Argument("<b>", "id of the later one"))
    .addOption(new Option("--rows <count>", "fixed and broken rows shown, up to 100 each").argParser(hundred).default(5))
    .option("--full", "long texts whole")
    .action(runs(() => import("./commands/eval-diff.js")));

  // ── the fleet ────────────────────────────────────────────────────────────────────────────────────
  const agents = add(program, "agents", "Agents: what they offer and what they run").action(runs(() => import("./commands/agents.js")));
  add(agents, "show", "One agent in detail").argument("<agent>", "name or id").action(runs(() => import("./commands/agents-show.js")));
  reason(add(agents, "drain", "Give an agent no new work; what runs goes on").argument("<agent>", "name or id")).action(runs(() => import("./commands/agents-drain.js")));
  reason(add(agents, "undrain", "Give an agent work again").argument("<agent>", "name or id")).action(runs(() => import("./commands/agents-undrain.js")));
  const host = program.command("host").description("Machines that are reached over SSH");
  add(host, "add", "Add a machine; its host key is shown and must be confirmed").argument("<name>", "what to call it").argument("<target>", "user@host or user@host:port; also a name of ~/.ssh/config of the server's user")
    .option("--key <file>", "private key, read here and stored encrypted on the server")
    .option("--key-on-server <file>", "private key that stays in a file on the server's machine")
    .option("--passphrase-file <file>", "file with the key's passphrase; - for stdin")
    .option("--password-file <file>", "log in with the password in this file; - for stdin")
    .option("--ssh-agent", "log in with the ssh-agent of the server's user")
    .option("--jump <host>", "pass through this host, added before")
    .option("--dir <path>", "working directory there (default: ~/.trainyard)")
    .option("--python <path>", "folder of a venv or conda environment there")
    .addOption(new Option("--prefix <word>", "put before each program; repeatable, a word each").argParser(collect))
    .addOption(new Option("--env <name=value>", "variable of programs there; repeatable").argParser(collect))
    .option("--fingerprint <SHA256:…>", "accept exactly this host key without asking")
    .option("--no-check", "do not look at what the machine has")
    .action(runs(() => import("./commands/host-add.js")));
  add(host, "check", "Look at what a machine has: system, disk, GPUs, Python, packages, clock").argument("<host>", "name or id").action(runs(() => import("./commands/host-check.js")));
  add(host, "deploy", "Bring an agent of its own onto a machine, upgrade it without stopping what runs, or remove it").argument("<host>", "name or id")
    .option("--agent-url <url>", "how the machine reaches the server (default: as the server says of itself)")
    .option("--pools <pools>", "queues and slots, as TRAINYARD_AGENT_POOLS: training=1;default,evaluation=4")
    .option("--labels <labels>", "labels, as TRAINYARD_AGENT_LABELS: gpu=h100,zone=3")
    .option("--python <program>", "Python there that has verl (default: that of the machine's environment, or python3)")
    .option("--ca <file>", "certificate (PEM) of the authority behind the server's address, when it is your own")
    .option("--send-node", "send the server's Node even where the machine has one that would do")
    .option("--remove", "take the agent off the machine, once what it runs has ended")
    .option("--now", "with --remove: stop what it runs; given again, hastens a removal that waits")
    .option("--forget", "with --remove: the machine is gone for good, clean up on the server only")
    .option("--no-wait", "order it and return; host ls says how far it is")
    .option("-y, --yes", "do not ask")
    .action(runs(() => import("./commands/host-deploy.js")));
  add(host, "ls", "List the machines").action(runs(() => import("./commands/host-ls.js")));
  add(host, "rm", "Forget a machine with its credentials").argument("<host>", "name or id").option("-y, --yes", "do not ask").action(runs(() => import("./commands/host-rm.js")));
  add(host, "shell-hint", "Print the ssh command that opens a shell in its working directory").argument("<host>", "name or id").action(runs(() => import("./commands/host-shell-hint.js")));
  add(program, "queues", "Queues: waiting, running, capacity").action(runs(() => import("./commands/queues.js")));
  const checkpoint = program.command("checkpoint").description("Checkpoints that stages left behind");
  add(checkpoint, "ls", "List the checkpoints of a pipeline or stage").argument("<pipeline>", "id or name").option("--stage <name>", "only this stage").option("--all", "deleted ones too").action(runs(() => import("./commands/checkpoint-ls.js")));
  add(checkpoint, "fetch", "Copy a checkpoint's files here, verified; cut off, the same command goes on").argument("<id>").option("--to <folder>", "folder to put them into (default: one named like the checkpoint, here)").action(runs(() => import("./commands/checkpoint-fetch.js")));
  add(checkpoint, "pin", "Never delete a checkpoint").argument("<id>").action(runs(() => import("./commands/checkpoint-pin.js")));
  add(checkpoint, "unpin", "Let a checkpoint be tidied up again").argument("<id>").action(runs(() => import("./commands/checkpoint-unpin.js")));
  add(checkpoint, "rm", "Delete a checkpoint's files").argument("<id>").option("-y, --yes", "do not ask").action(runs(() => import("./commands/checkpoint-rm.js")));
  const webhook = program.command("webhook").description("Webhooks: who is told of events");
  const hook = new Argument("<webhook>", "name or id");
  add(webhook, "add", "Tell an address of events; the secret that messages are signed with is shown once")
    .addArgument(new Argument("<name>", "letters, digits, '.', '_' and '-'"))
    .addArgument(new Argument("[url]", "the address; - or nothing: read from stdin, so that it stands in no list of processes"))
    .addOption(new Option("--format <format>", "who receives it").choices(["json", "slack", "feishu"]).default("json"))
    .addOption(new Option("--event <event>", "pipeline.ended, stage.failed, approval.waiting or anomaly; repeatable (default: all)").argParser(collect))
    .option("--secret-env <variable>", "environment variable that holds the secret to sign with (default for json: one is made)")
    .action(runs(() => import("./commands/webhook-add.js")));
  add(webhook, "ls", "List webhooks and what became of their newest message").action(runs(() => import("./commands/webhook-ls.js")));
  add(webhook, "test", "Send a test message and wait for the answer").addArgument(hook).action(runs(() => import("./commands/webhook-test.js")));
  add(webhook, "rm", "Remove a webhook").addArgument(hook).option("-y, --yes", "do not ask").action(runs(() => import("./commands/webhook-rm.js")));
  const token = program.command("token").description("Tokens of users and agents");
  add(token, "create", "Make a token; it is shown once")
    .addOption(new Option("--role <role>", "what it may do").choices(["viewer", "operator", "admin", "agent"]).makeOptionMandatory())
    .requiredOption("--name <name>", "whose it is, for the audit")
    .option("--agent-name <name>", "for agents: valid for this agent name only")
    .addOption(new Option("--expires-in-days <days>", "valid for this long").argParser(positive))
    .option("--local", "write to the database itself (DATABASE_URL, or the data directory's), without a server")
    .action(runs(() => import("./commands/token-create.js")));
  add(token, "ls", "List tokens, never their secrets").action(runs(() => import("./commands/token-ls.js")));
  add(token, "revoke", "Make a token invalid at once").argument("<id>").option("-y, --yes", "do not ask").action(runs(() => import("./commands/token-revoke.js")));
  return program;
}

function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

function whole(text: string, low: number, high: number, what: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < low || value > high) throw new InvalidArgumentError(what);
  return value;
}
const port = (text: string) => whole(text, 0, 65_535, "A port is a number from 0 to 65535.");
const positive = (text: string) => whole(text, 1, 1_000_000_000, "Give a whole number, 1 or more.");
const hundred = (text: string) => whole(text, 0, 100, "Give a whole number from 0 to 100.");
const natural = (text: string) => whole(text, 0, 1_000_000_000, "Give a whole number, 0 or more.");

/** Seconds of `90`, `90s`, `10m`, `2h`, `1d`. */
export function timeSpan(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?$/.exec(text);
  if (match === null) throw new InvalidArgumentError("Give a duration such as 90s, 10m or 2h.");
  const units: Record<string, number> = { ms: 0.001, s: 1, m: 60, min: 60, h: 3600, d: 86_400 };
  return Number(match[1]) * units[match[2] ?? "s"]!;
}
