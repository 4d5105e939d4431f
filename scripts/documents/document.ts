// A generated file: where it lies in the repository, and how its text is made.

export interface Document {
  /** Relative to the repository's root, with forward slashes. */
  readonly path: string;
  /** The whole text, the newline at its end included. Same sources, same text: no dates, no paths of this machine. */
  render(): string | Promise<string>;
}

/** Text for a cell of a Markdown table: one line, no cell border inside. */
export function cell(text: string): string {
  return text.replaceAll("|", "\\|").replace(/\s*\n\s*/g, " ");
}

/** A Markdown table. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

/** A template's text with every `{{name}}` line replaced. Throws when a name has no part, or a part no place: a table cannot be forgotten. */
export function fill(template: string, parts: Readonly<Record<string, string>>): string {
  const used = new Set<string>();
  const text = template.replace(/^\{\{([\w-]+)\}\}$/gm, (_, name: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`The template asks for {{${name}}}, which is not generated. Known: ${Object.keys(parts).join(", ")}.`);
    used.add(name);
    return part;
  });
  const unused = Object.keys(parts).filter((name) => !used.has(name));
  if (unused.length > 0) throw new Error(`The template has no place for {{${unused.join("}}, {{")}}}.`);
  return text;
}
