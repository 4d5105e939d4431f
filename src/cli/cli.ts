// What every command is given: the streams, how to print on them, and how to reach the server. Built once per invocation in program.ts.
import { stringify } from "yaml";
import { clientConfigSchema, readConfig, type ClientConfig } from "../config.js";
import { createApiClient, type ApiClient } from "./api/client.js";
import { resolveConnection, type Connection } from "./connection.js";
import { identifyProcess } from "../process-identity.js";
import { createStyle, wantsColour, type Style } from "./style.js";

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly dataDir?: string;
  readonly tokenFile?: string;
  readonly output?: OutputFormat;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly color?: boolean;
  readonly input?: boolean;
}
export type OutputFormat = "table" | "json" | "yaml";

/** The outside world of one invocation. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  readonly stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
}

export interface Cli extends Surroundings {
  readonly options: GlobalOptions;
  readonly config: ClientConfig;
  /** How the user calls this program: "trainyard" or "npx trainyard". */
  readonly self: string;
  readonly format: OutputFormat;
  readonly quiet: boolean;
  /** Style of stdout and of stderr: one may be a terminal while the other is a file. */
  readonly style: Style;
  readonly noteStyle: Style;
  /** Whether questions may be asked. */
  readonly mayAsk: boolean;
  /** Data, on stdout; as a table, as JSON or as YAML, or the ids alone with --quiet. */
  print(views: DataViews): void;
  /** One line on stdout. */
  line(text: string): void;
  /** One object of a stream on stdout: a line of JSON, or a YAML document. */
  record(value: unknown): void;
  /** Progress and remarks, on stderr; silent with --quiet. */
  note(text: string): void;
  /** A command of ours as the user would type it, with the same --data-dir or --url. */
  command(rest: string): string;
  connection(): Connection;
  api(): ApiClient;
}

export interface DataViews {
  readonly value: unknown;
  readonly table: () => readonly string[];
  readonly ids: () => readonly string[];
}

export function createCli(surroundings: Surroundings, options: GlobalOptions): Cli {
  const { environment, stdout, stderr } = surroundings;
  const format = options.json === true ? "json" : (options.output ?? "table");
  const quiet = options.quiet === true;
  const colour = options.color !== false;
  const self = callName(environment);
  const noteStyle = createStyle(wantsColour(stderr, environment, colour));
  const line = (text: string) => void stdout.write(`${text}\n`);
  const note = (text: string) => void (quiet || stderr.write(`${text}\n`));
  const config = readConfig(clientConfigSchema, environment);
  let connection: Connection | null = null;
  const cli: Cli = {
    ...surroundings,
    options,
    config,
    self,
    format,
    quiet,
    style: createStyle(wantsColour(stdout, environment, colour)),
    noteStyle,
    mayAsk: options.input !== false && surroundings.stdin.isTTY === true && stderr.isTTY === true,
    line,
    note,
    print(views) {
      if (quiet) for (const id of views.ids()) line(id);
      else if (format === "json") line(JSON.stringify(views.value, null, 2));
      else if (format === "yaml") stdout.write(stringify(views.value));
      else for (const text of views.table()) line(text);
    },
    record: (value) => (format === "yaml" ? void stdout.write(`---\n${stringify(value)}`) : line(JSON.stringify(value))),
    command: (rest) => [self, rest, options.dataDir === undefined ? "" : `--data-dir ${options.dataDir}`, options.url === undefined ? "" : `--url ${options.url}`].filter((part) => part !== "").join(" "),
    connection: () => (connection ??= resolveConnection({ flags: options, config, workingDirectory: surroundings.workingDirectory, isRunning: (pid) => identifyProcess(pid) !== null })),
    api: () => createApiClient({ connection: cli.connection(), self }),
  };
  return cli;
}

/** npm and npx say in the environment that they started us. */
function callName(environment: Surroundings["environment"]): string {
  return environment["npm_command"] === undefined ? "trainyard" : "npx trainyard";
}
