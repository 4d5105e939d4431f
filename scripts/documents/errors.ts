// docs/errors.md, from the catalogue of codes.
import { readFileSync } from "node:fs";
import { ERRORS, FAILURES, PROBLEMS, type CatalogueEntry } from "../../src/domain/error-catalogue.js";
import { PERMANENT_CAUSES, type FailureCode } from "../../src/domain/pipeline/spec.js";
import { packagePath } from "../../src/package-root.js";
import { fill, table, type Document } from "./document.js";

export const errorReference: Document = {
  path: "docs/errors.md",
  render: () =>
    fill(readFileSync(packagePath("scripts/documents/templates/errors.md"), "utf8"), {
      errors: entries(ERRORS),
      problems: entries(PROBLEMS),
      failures: table(
        ["code", "retried without `on`", "meaning", "what to do"],
        (Object.entries(FAILURES) as [FailureCode, CatalogueEntry][]).map(([code, { meaning, action }]) => [`\`${code}\``, PERMANENT_CAUSES.includes(code) ? "no" : "yes", meaning, action]),
      ),
    }),
};

function entries(catalogue: Readonly<Record<string, CatalogueEntry>>): string {
  return table(["code", "meaning", "what to do"], Object.entries(catalogue).map(([code, { meaning, action }]) => [`\`${code}\``, meaning, action]));
}
