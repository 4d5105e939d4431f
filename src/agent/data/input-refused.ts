// Input of a preprocess stage that cannot be used, whatever is tried again.

export class InputRefusedError extends Error {
  readonly code = "INVALID_INPUT";
  /** What to do. */
  readonly hint: string | null;
  constructor(message: string, hint: string | null) {
    super(message);
    this.name = "InputRefusedError";
    this.hint = hint;
  }
}
