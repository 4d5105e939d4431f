// Why an evaluation ends without scores. The program prints them in a form that the agent's table of exit causes knows.

/** The same params and the same service will not do better: a wrong key, an unknown model, unusable data. */
export class EvaluationRefusedError extends Error {
  override readonly name = "EvaluationRefusedError";
}

/** The service could not be reached, or not often enough; another try may do better and goes on from here. */
export class EvaluationGaveUpError extends Error {
  override readonly name = "EvaluationGaveUpError";
}

/** A program that ran for the evaluation left something else than it was to; its own output, which stands in the log already, may say why. */
export class ProgramFailedError extends Error {
  override readonly name = "ProgramFailedError";
}

/** What the last line of a failed evaluation begins with. */
export const REFUSED_LINE = "evaluation refused: ";
export const GAVE_UP_LINE = "evaluation gave up: ";
