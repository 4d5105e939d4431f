// Random graphs and specifications for properties.

import fc from "fast-check";

export interface Node { readonly name: string; readonly dependsOn: readonly string[] }

/** A sound graph: stages in a random order of the document, each needing some that come before it in a hidden order. */
export function dagOf({ minStages = 1, maxStages, minNeeds = 0, maxNeeds = 4 }: { minStages?: number; maxStages: number; minNeeds?: number; maxNeeds?: number }): fc.Arbitrary<Node[]> {
  return fc.integer({ min: minStages, max: maxStages }).chain((count) =>
    fc.tuple(
      fc.tuple(...Array.from({ length: count }, (_, index) => fc.array(fc.nat({ max: Math.max(0, index - 1) }), { minLength: index === 0 ? 0 : Math.min(minNeeds, index), maxLength: index === 0 ? 0 : maxNeeds }))),
      fc.shuffledSubarray(Array.from({ length: count }, (_, index) => index), { minLength: count, maxLength: count }),
    ).map(([needs, order]) => order.map((index) => ({ name: `s${index}`, dependsOn: [...new Set(needs[index])].map((need) => `s${need}`) }))),
  );
}
