// Follows one pipeline from its state now to its end, whatever happens to the connection meanwhile.
//   F1. State first, then every event after its head: no gap in which something could be missed.
//   F2. The cursor of the subscription moves with every event and bookmark, so that a reconnect resumes exactly.
//   F3. A cursor too old for the server (ResyncRequired) leads back to the state; the view is replaced, never patched over a hole.
import type { ApiClient } from "../api/client.js";
import { patiently, persistently } from "../api/client.js";
import type { SubscriptionClient } from "../api/subscriptions.js";
import { CliError, EXIT, UnreachableError, exitCodeOf } from "../exit-codes.js";
import { applyEvent, PIPELINE_SNAPSHOT, viewOf, type ApiEvent, type PipelineSnapshot, type PipelineView } from "./pipeline-view.js";

export interface FollowOptions {
  readonly api: ApiClient;
  readonly subscriptions: SubscriptionClient;
  readonly pipelineId: string;
  /** The state to begin with, and again whenever it had to be read anew. */
  onState(view: PipelineView): void;
  /** Each event after that, once and in order; the view has taken it in already. */
  onEvent?(event: ApiEvent, view: PipelineView): void;
  /** Ends the following early. */
  readonly signal: AbortSignal;
}

export const EVENTS_SUBSCRIPTION = `subscription Events($pipelineId: ID!, $after: EventCursor) {
  pipelineEvents(pipelineId: $pipelineId, after: $after) {
    __typename
    ... on PipelineEvent { cursor pipelineId seq type stage payload at }
    ... on Bookmark { cursor }
    ... on ResyncRequired { head }
  }
}`;

export type StreamItem =
  | (ApiEvent & { readonly __typename: "PipelineEvent" })
  | { readonly __typename: "Bookmark"; readonly cursor: string }
  | { readonly __typename: "ResyncRequired"; readonly head: string };

const SNAPSHOT = `query Pipeline($id: ID!) { pipeline(id: $id) { ${PIPELINE_SNAPSHOT} } }`;

/** Resolves with the view when the pipeline has ended or the signal came. Throws CliError; not for a lost connection once the first state was read. */
export async function followPipeline(options: FollowOptions): Promise<PipelineView> {
  const { api, pipelineId, signal } = options;
  for (let view = await readView(api, pipelineId); ; ) {
    options.onState(view);
    if (exitCodeOf(view.status) !== null || signal.aborted) return view;
    if ((await followFrom(view, options)) === "ended") return view;
    try {
      view = await patiently(() => readView(api, pipelineId), signal);
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return view; // the signal came while the server was away
    }
  }
}

/** The state of a pipeline. Throws CliError (not found). */
export async function readView(api: ApiClient, pipelineId: string): Promise<PipelineView> {
  const { pipeline } = await persistently(3, () => api.call<{ pipeline: PipelineSnapshot | null }>(SNAPSHOT, { id: pipelineId }));
  if (pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${pipelineId}.`, { hint: "List those there are: trainyard ls" });
  return viewOf(pipeline);
}

async function followFrom(view: PipelineView, { subscriptions, pipelineId, onEvent, signal }: FollowOptions): Promise<"ended" | "resync"> {
  const variables: Record<string, unknown> = { pipelineId, after: view.cursor };
  let outcome: "ended" | "resync" = "ended";
  const stream = subscriptions.stream<StreamItem>({
    query: EVENTS_SUBSCRIPTION,
    variables,
    onItem(item) {
      if (item.__typename === "ResyncRequired") {
        outcome = "resync";
        stream.stop();
        return;
      }
      variables["after"] = item.cursor; // F2
      if (item.__typename !== "PipelineEvent" || !applyEvent(view, item)) return;
      onEvent?.(eventOf(item), view);
      if (exitCodeOf(view.status) !== null) stream.stop();
    },
  });
  const stop = () => stream.stop();
  signal.addEventListener("abort", stop);
  try {
    await stream.done;
    return outcome;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** The event alone, without what GraphQL adds. */
export function eventOf({ __typename, ...event }: ApiEvent & { readonly __typename: "PipelineEvent" }): ApiEvent {
  return event;
}
