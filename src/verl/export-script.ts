// A training run as a plain shell script that reproduces it without Trainyard.

export interface ExportedRun {
  /** What the script says about itself, one line each. */
  readonly about: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** One argv per member of the run, by rank. */
  readonly commands: readonly (readonly string[])[];
}

/** A POSIX shell script. Every word is quoted; values of secrets must not be given. */
export function exportScript({ about, environment, commands }: ExportedRun): string {
  const several = commands.length > 1;
  const lines = [
    "#!/bin/sh",
    ...about.map((line) => `# ${line.replace(/[\r\n]+/g, " ")}`),
    "set -eu",
    "",
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${shellWord(value)}`),
    "",
    ...(several ? [`# Run this on every host with its rank: RANK=0 for the head, then 1 to ${commands.length - 1}.`, 'case "${RANK:-0}" in'] : []),
    ...commands.flatMap((argv, rank) => {
      const words = argv.map((word, index) => (index === 0 ? `exec ${shellWord(word)}` : `  ${shellWord(word)}`));
      const command = words.map((line, index) => (index === words.length - 1 ? line : `${line} \\`));
      return several ? [`${rank})`, ...command, "  ;;"] : command;
    }),
    ...(several ? ["esac"] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** One word of a shell, whatever it holds. Throws RangeError on NUL, which no shell can carry. */
export function shellWord(text: string): string {
  if (text.includes("\0")) throw new RangeError("a NUL character cannot stand in a shell script");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
