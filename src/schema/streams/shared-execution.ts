// Runs subscriptions so that an event is executed and serialised once, however many subscribers it has.
//   X1. Shared are the results of one item for the same document, operation, role and the variables that are used below the root field. Nothing else of the
//       caller can reach them: fields of stream items read the item alone, and loaders are made anew for each execution.
//   X2. Each result carries its JSON text, made at most once; the transports splice it into their frames.
//   X3. The iterator is written by hand: `return()` reaches the source at once.
//   X4. What goes wrong inside a stream ends it with a masked error; nothing internal gets out.

import {
  createSourceEventStream, execute, Kind, visit, type DocumentNode, type ExecutionArgs, type ExecutionResult, type OperationDefinitionNode, type SelectionSetNode,
} from "graphql";
import type { Logger } from "pino";
import { maskError, maskResult } from "../api-errors.js";
import { createContext, type Context } from "../context.js";

/** A result with its text. */
export interface SharedResult extends ExecutionResult {
  /** `{"data":…}`. */
  json(): string;
  /** The same, under the name that yoga looks for. */
  stringify(): string;
}

export type Subscribe = (args: ExecutionArgs) => Promise<AsyncIterableIterator<SharedResult> | ExecutionResult>;

/** The subscribe function of this process; hold one, its memory is the sharing. */
export function createSharedSubscribe(log: Pick<Logger, "error">): Subscribe {
  const results = new WeakMap<object, Map<string, SharedResult | Promise<SharedResult>>>();
  const documents = new WeakMap<DocumentNode, number>();
  let lastDocument = 0;

  function documentNumber(document: DocumentNode): number {
    const known = documents.get(document);
    if (known !== undefined) return known;
    documents.set(document, ++lastDocument);
    return lastDocument;
  }

  return async function subscribe(args) {
    const context = args.contextValue as Context;
    const source = await createSourceEventStream(args);
    if (!(Symbol.asyncIterator in source)) return maskResult(source, context.requestId, log);
    const events = (source as AsyncIterable<object>)[Symbol.asyncIterator]();
    const shape = JSON.stringify([documentNumber(args.document), args.operationName ?? null, context.principal?.role ?? null, variablesBelowRoot(args)]);

    function resultOf(item: object): SharedResult | Promise<SharedResult> {
      let shapes = results.get(item);
      if (shapes === undefined) results.set(item, (shapes = new Map()));
      const known = shapes.get(shape);
      if (known !== undefined) return known;
      const made = execute({ ...args, rootValue: item, contextValue: createContext(context.deps, context) });
      if (made instanceof Promise) {
        const later = made.then((result) => {
          const shared = share(result);
          shapes.set(shape, shared);
          return shared;
        });
        shapes.set(shape, later);
        return later;
      }
      const shared = share(made);
      shapes.set(shape, shared);
      return shared;
    }
    const share = (result: ExecutionResult): SharedResult => withText(maskResult(result, context.requestId, log));
    const masked = (error: unknown) => maskError(error, context.requestId, log);

    const iterator: AsyncIterableIterator<SharedResult> = {
      [Symbol.asyncIterator]: () => iterator,
      async next() {
        try {
          const step = await events.next();
          if (step.done === true) return { done: true, value: undefined };
          const result = resultOf(step.value);
          return { done: false, value: result instanceof Promise ? await result : result };
        } catch (error) {
          void events.return?.();
          throw masked(error);
        }
      },
      async return() {
        await events.return?.();
        return { done: true, value: undefined };
      },
      async throw(error: unknown) {
        await events.return?.();
        throw error;
      },
    };
    return iterator;
  };
}

/** Adds the text in a way that neither copying nor serialising the result picks up. */
function withText(result: ExecutionResult): SharedResult {
  let text: string | null = null;
  const json = () => (text ??= JSON.stringify(result));
  return Object.defineProperties(result as SharedResult, { json: { value: json }, stringify: { value: json } }); // not enumerable
}

/** X1. Values of the variables that what stands below the root field can see, in their order of appearance. */
function variablesBelowRoot({ document, operationName, variableValues }: ExecutionArgs): readonly unknown[] {
  const operation = document.definitions.find((definition): definition is OperationDefinitionNode =>
    definition.kind === Kind.OPERATION_DEFINITION && (operationName == null || definition.name?.value === operationName));
  const names = new Set<string>();
  const note = (set: SelectionSetNode) => visit(set, { Variable: ({ name }) => void names.add(name.value) });
  for (const definition of document.definitions) if (definition.kind === Kind.FRAGMENT_DEFINITION) note(definition.selectionSet);
  for (const selection of operation?.selectionSet.selections ?? []) {
    if (selection.kind === Kind.FIELD) {
      if (selection.selectionSet !== undefined) note(selection.selectionSet);
      selection.directives?.forEach((directive) => visit(directive, { Variable: ({ name }) => void names.add(name.value) }));
    } else if (selection.kind === Kind.INLINE_FRAGMENT) note(selection.selectionSet);
  }
  return [...names].map((name) => [name, (variableValues as Record<string, unknown> | null | undefined)?.[name] ?? null]);
}
