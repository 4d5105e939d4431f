// promptTemplate as it is written: text with {column} in it; {{ and }} are braces.

/** Text to keep, and columns to fill in, in order. */
export type TemplatePart = { readonly text: string } | { readonly field: string };

/** The parts of a template, or in words why it is none. */
export function parseTemplate(template: string): { readonly parts: readonly TemplatePart[]; readonly fields: readonly string[] } | { readonly problem: string } {
  const parts: TemplatePart[] = [];
  const fields = new Set<string>();
  let text = "";
  for (let at = 0; at < template.length; at++) {
    const char = template[at]!;
    if ((char === "{" || char === "}") && template[at + 1] === char) {
      text += char;
      at++;
    } else if (char === "}") {
      return { problem: `the "}" at character ${at + 1} closes nothing; write }} for a brace` };
    } else if (char === "{") {
      const end = template.indexOf("}", at);
      if (end === -1) return { problem: `the "{" at character ${at + 1} is never closed; write {{ for a brace` };
      const field = template.slice(at + 1, end);
      if (field === "" || field.includes("{")) return { problem: `the "{" at character ${at + 1} is not followed by the name of a column and "}"; write {{ for a brace` };
      if (text !== "") parts.push({ text });
      text = "";
      parts.push({ field });
      fields.add(field);
      at = end;
    } else {
      text += char;
    }
  }
  if (text !== "") parts.push({ text });
  return fields.size === 0 ? { problem: "it names no column, so every row would have the same prompt" } : { parts, fields: [...fields] };
}
