// The name under which a stage's files are registered when the stage gives none.

/** Longest part of a pipeline's name that goes in, in UTF-16 units: with the stage's (100) and the ending the whole stays below what the protocol takes (300). */
const PIPELINE_UNITS = 180;

/** `<pipeline>/<stage>`. What a reference `dataset:<name>@<version>` cannot carry becomes a hyphen. */
export function datasetNameOf(pipelineName: string, stage: string): string {
  const named = pipelineName.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[^\p{L}\p{N}]+|-+$/gu, "");
  const short = named.slice(0, PIPELINE_UNITS).replace(/\p{Surrogate}$/u, "");
  return `${short === "" ? "pipeline" : short}/${stage}`;
}
