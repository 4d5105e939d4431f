// docs/cli.md, made from the commands themselves.
import type { Argument, Command, Option } from "commander";
import { clientConfigSchema } from "../config.js";
import { EXIT_MEANINGS } from "./exit-codes.js";
import { buildProgram } from "./program.js";

/** The whole document, as Markdown with a final newline. */
export function describeCli(): string {
  const nowhere = { write: () => true, end: () => undefined } as unknown as NodeJS.WriteStream;
  const program = buildProgram({
    surroundings: { environment: {}, workingDirectory: "/", stdin: nowhere as unknown as NodeJS.ReadStream, stdout: nowhere, stderr: nowhere },
    version: "",
    onBegin: () => undefined,
    onEnd: () => undefined,
  });
  const lines = [
    "# Command line",
    "",
    "<!-- Generated from src/cli/program.ts by `npm run generate`. Change it there. -->",
    "",
    `${program.description()}`,
    "",
    "stdout carries data and nothing else; progress, remarks and errors go to stderr. Every command that reads takes `--json` (or `--output json|yaml`), and gives one JSON object a line when it follows something. `--quiet` prints ids only. A command stays attached only on a terminal: elsewhere `submit` returns at once unless `--watch` is given. Ctrl-C of `watch` and `logs -f` only detaches; the pipeline goes on.",
    "",
    "## Which server",
    "",
    "A flag goes before the environment, the environment before what `trainyard up` left in its data directory (`server.json`, `tokens/admin`): in `.trainyard` or `.trainyard/demo`, here or in a folder above. The address may be given with or without `/graphql`. Tokens come from the environment or a file, never from a flag; the token of a data directory is sent to the server of that directory only.",
    "",
    "| variable | meaning |",
    "|---|---|",
    ...Object.entries(clientConfigSchema.shape).map(([name, schema]) => `| \`${name}\` | ${cell(schema.description ?? "")} |`),
    "",
    "Variables of the server and of agents: [configuration](configuration.md).",
    "",
    "## Exit codes",
    "",
    "| code | meaning |",
    "|---|---|",
    ...EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${cell(meaning)} |`),
    "",
    "## Options of every command",
    "",
    ...optionTable(program.options),
    "",
    "## Commands",
    "",
    ...leaves(program).flatMap((command) => describeCommand(command)),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

/** Every command that does something, in the order of the help. */
function leaves(command: Command): Command[] {
  return command.commands.flatMap((child) => (child.commands.length === 0 ? [child] : child.name() === "agents" ? [child, ...leaves(child)] : leaves(child)));
}

function describeCommand(command: Command): string[] {
  const options = command.options.filter((option) => !option.hidden);
  const documented = command.registeredArguments.filter((argument) => argument.description !== "");
  return [
    `### ${fullName(command)}`,
    "",
    `${command.description()}.`,
    "",
    "```",
    [fullName(command), ...command.registeredArguments.map(shownArgument), ...(options.length === 0 ? [] : ["[options]"])].join(" "),
    "```",
    "",
    ...(documented.length === 0 ? [] : ["| argument | meaning |", "|---|---|", ...documented.map((argument) => `| \`${argument.name()}\` | ${cell(argument.description)} |`), ""]),
    ...(options.length === 0 ? [] : [...optionTable(options), ""]),
  ];
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function shownArgument(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function optionTable(options: readonly Option[]): string[] {
  const meaning = (option: Option) => {
    const choices = option.argChoices === undefined ? "" : `; one of ${option.argChoices.join(", ")}`;
    const fallback = option.defaultValue === undefined || typeof option.defaultValue === "boolean" ? "" : ` (default: ${String(option.defaultValue)})`;
    return `${option.description}${choices}${fallback}${option.mandatory ? "; needed" : ""}`;
  };
  return ["| option | meaning |", "|---|---|", ...options.map((option) => `| \`${option.flags}\` | ${cell(meaning(option))} |`)];
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/<([a-z]+)>/g, "`<$1>`");
}
