export const VERSIONS: readonly string[];
export function sourcesFolder(): string;
export function pythonOf(folder: string): string;
export function makeSources(): string;
export function runWithHydra(folder: string, args: readonly string[], input?: string): string;
