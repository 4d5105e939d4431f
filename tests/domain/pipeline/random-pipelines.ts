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

/** Stages as a user might write them over such a graph: approvals, gangs, retries, deadlines, conditions and references among them. */
export function stagesOf(maxStages: number): fc.Arbitrary<Record<string, unknown>[]> {
  const rarely = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 4 });
  const trimmings = fc.record({
    approval: fc.nat(9),
    nodes: fc.constantFrom(1, 1, 1, 1, 2, 3),
    retry: rarely(fc.record({ maxAttempts: fc.integer({ min: 1, max: 3 }), backoffSeconds: fc.integer({ min: 0, max: 20 }) })),
    timeoutSeconds: rarely(fc.integer({ min: 1, max: 60 })),
    startTimeoutSeconds: rarely(fc.integer({ min: 5, max: 100 })),
    noProgressTimeoutSeconds: rarely(fc.integer({ min: 1, max: 60 })),
    when: fc.nat(7),
    reference: fc.nat(3),
  });
  return dagOf({ maxStages, maxNeeds: 3 }).chain((nodes) => fc.array(trimmings, { minLength: nodes.length, maxLength: nodes.length }).map((all) => nodes.map(({ name, dependsOn }, index) => {
    const { approval, nodes: count, when, reference, ...rest } = all[index]!;
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    const [first] = dependsOn;
    const condition = when === 0 && first !== undefined ? { when: { value: `\${stages.${first}.outputs.n}`, atLeast: 1 } } : {};
    if (approval === 0) return { name, dependsOn, kind: "approval", ...condition };
    return { name, dependsOn, kind: "command", resources: { nodes: count }, ...given, ...condition, params: { run: ["x", ...(reference === 0 && first !== undefined ? [`\${stages.${first}.outputs.n}`] : [])] } };
  })));
}
