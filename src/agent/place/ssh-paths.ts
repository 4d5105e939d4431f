// Names of one file on both sides of an SSH host: home's attempts' root here, <working directory>/attempts there.
//   P1. A text is translated at each place where the root stands as a whole path, or the beginning of one; the rest of it stays as it is.

/** Every path below `from` in the text, as one below `to` (P1). */
export function translated(text: string, from: string, to: string): string {
  let result = "";
  for (let at = 0; ;) {
    const found = text.indexOf(from, at);
    if (found < 0) return result + text.slice(at);
    const end = found + from.length;
    const whole = end === text.length || !/[A-Za-z0-9._@+-]/.test(text[end]!);
    result += text.slice(at, found) + (whole ? to : from);
    at = end;
  }
}

/** Paths below `root` that stand in the text, up to whatever ends a path on a command line. */
export function pathsBelow(text: string, root: string): string[] {
  const found: string[] = [];
  for (let at = text.indexOf(`${root}/`); at >= 0; at = text.indexOf(`${root}/`, at + 1)) found.push(/^[^\s"',;:=\]})]+/.exec(text.slice(at))![0]);
  return found;
}
