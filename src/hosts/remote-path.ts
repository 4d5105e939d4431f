// Paths on a host. They come from users, so they are narrowed to what no shell could read as anything else, and quoted all the same.
//   P1. Absolute or below the home directory (~/…); letters, digits and . _ - + @ / only; no part is "." or "..".

const REMOTE_PATH = /^(?:~|~?(?:\/[A-Za-z0-9._+@-]+)+)$/;

/** The path without a slash at its end; null when it is not of the form P1. */
export function remotePath(text: string): string | null {
  const path = text.length > 1 ? text.replace(/\/+$/, "") : text;
  if (path.length > 1_000 || !REMOTE_PATH.test(path)) return null;
  return path.split("/").some((part) => part === "." || part === "..") ? null : path;
}

/** The path as a word of a POSIX shell, ~ standing for the home directory. Throws Error for what is no path (P1). */
export function shellWord(path: string): string {
  if (remotePath(path) !== path) throw new Error(`${JSON.stringify(path)} is no path of a host`);
  return path.startsWith("~") ? `"$HOME"'${path.slice(1)}'` : `'${path}'`;
}
