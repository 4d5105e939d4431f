// Colours of the terminal, and when there are none.

export interface Style {
  readonly coloured: boolean;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Whether a stream gets colours: NO_COLOR or --no-color says no, FORCE_COLOR says yes, otherwise a terminal that is not "dumb" does. */
export function wantsColour(stream: { isTTY?: boolean }, environment: Readonly<Record<string, string | undefined>>, flag: boolean): boolean {
  if (!flag || environment["NO_COLOR"]) return false;
  const forced = environment["FORCE_COLOR"];
  if (forced !== undefined && forced !== "") return forced !== "0" && forced !== "false";
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}

export function createStyle(coloured: boolean): Style {
  const wrap = (open: number, close: number) => (text: string) => (coloured && text !== "" ? `\u001b[${open}m${text}\u001b[${close}m` : text);
  return { coloured, bold: wrap(1, 22), dim: wrap(2, 22), red: wrap(31, 39), green: wrap(32, 39), yellow: wrap(33, 39), cyan: wrap(36, 39) };
}

/** The colour that a status of a pipeline, stage, attempt or agent has everywhere. */
export function statusStyle(style: Style, status: string): (text: string) => string {
  switch (status) {
    case "COMPLETED": case "ONLINE": return style.green;
    case "FAILED": case "LOST": return style.red;
    case "RUNNING": return style.cyan;
    case "CANCELLED": case "PAUSED": case "WAITING_APPROVAL": case "UNRESPONSIVE": case "DRAINING": return style.yellow;
    default: return style.dim;
  }
}
