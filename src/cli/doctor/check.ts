// One finding of `doctor`.

export interface Check {
  readonly name: string;
  /** unknown: it could not be looked at, because of another failure. */
  readonly status: "ok" | "warning" | "failure" | "unknown";
  readonly found: string;
  /** What to do; null when all is well. */
  readonly fix: string | null;
}

export const ok = (name: string, found: string): Check => ({ name, status: "ok", found, fix: null });
export const warning = (name: string, found: string, fix: string): Check => ({ name, status: "warning", found, fix });
export const failure = (name: string, found: string, fix: string): Check => ({ name, status: "failure", found, fix });
export const unknown = (name: string, found: string): Check => ({ name, status: "unknown", found, fix: null });
