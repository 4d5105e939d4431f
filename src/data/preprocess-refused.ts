// How a preprocess stage ends when it cannot give files: refused, or cancelled.

import { InvalidInputError } from "../domain/errors.js";

/** The inputs and the params do not lead to files that could be trained on. The message names counts, the first places and what to change. */
export class PreprocessRefusedError extends InvalidInputError {
  /** The first broken rows, as `file:line REASON: message`; empty when that is not the cause. */
  readonly firstRejects: readonly string[];
  constructor(message: string, firstRejects: readonly string[] = []) {
    super(message, []);
    this.firstRejects = firstRejects;
  }
}

/** What a cancelled run throws, whatever reason its signal carries. */
export function abortError(): DOMException {
  return new DOMException("The preprocess stage was cancelled.", "AbortError");
}

/** Throws an AbortError once the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw abortError();
}
