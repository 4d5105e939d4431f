// The history of one pipeline or of all, and with --follow what comes next.
import { findPipelineId } from "../api/find-pipeline.js";
import { openSubscriptions } from "../api/subscriptions.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { EVENTS_SUBSCRIPTION, eventOf, type StreamItem } from "../follow/pipeline-follower.js";
import type { ApiEvent } from "../follow/pipeline-view.js";
import { eventLine } from "../render/event-line.js";
import { interruptSignal } from "../interrupts.js";

const PAGE = 100;
const FIELDS = "cursor pipelineId seq type stage payload at";

export async function run(cli: Cli, [name]: readonly string[], options: { readonly follow?: boolean; readonly after?: string }): Promise<ExitCode> {
  const pipelineId = name === undefined ? null : await findPipelineId(cli, name);
  const print = (event: ApiEvent) => {
    if (cli.quiet) cli.line(event.cursor);
    else if (cli.format !== "table") cli.record(event);
    else cli.line(line(cli, event, pipelineId === null));
  };
  let after = options.after ?? null;
  for (;;) {
    const events = await page(cli, pipelineId, after);
    for (const event of events) print(event);
    after = events.at(-1)?.cursor ?? after;
    if (events.length < PAGE) break;
  }
  return options.follow === true ? follow(cli, pipelineId, after, print) : EXIT.ok;
}

async function page(cli: Cli, pipelineId: string | null, after: string | null): Promise<readonly ApiEvent[]> {
  if (pipelineId === null) {
    return (await cli.api().call<{ events: readonly ApiEvent[] }>(`query Fleet($after: EventCursor, $first: Int) { events(after: $after, first: $first) { ${FIELDS} } }`, { after, first: PAGE })).events;
  }
  const { pipeline } = await cli.api().call<{ pipeline: { events: readonly ApiEvent[] } | null }>(`query History($id: ID!, $after: EventCursor, $first: Int) { pipeline(id: $id) { events(after: $after, first: $first) { ${FIELDS} } } }`, { id: pipelineId, after, first: PAGE });
  if (pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${pipelineId}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  return pipeline.events;
}

async function follow(cli: Cli, pipelineId: string | null, after: string | null, print: (event: ApiEvent) => void): Promise<ExitCode> {
  const subscriptions = openSubscriptions(cli);
  const interrupt = interruptSignal();
  const variables: Record<string, unknown> = pipelineId === null ? { after } : { pipelineId, after };
  const query = pipelineId === null ? EVENTS_SUBSCRIPTION.replace("($pipelineId: ID!, $after: EventCursor)", "($after: EventCursor)").replace("pipelineEvents(pipelineId: $pipelineId, after: $after)", "fleetEvents(after: $after)") : EVENTS_SUBSCRIPTION;
  const stream = subscriptions.stream<StreamItem>({
    query,
    variables,
    onItem(item) {
      if (item.__typename === "ResyncRequired") {
        cli.note("Older events are no longer kept; going on from now.");
        variables["after"] = item.head;
        return;
      }
      variables["after"] = item.cursor;
      if (item.__typename === "PipelineEvent") print(eventOf(item));
    },
  });
  interrupt.signal.addEventListener("abort", () => stream.stop());
  try {
    await stream.done;
    return EXIT.interrupted;
  } finally {
    interrupt.release();
    subscriptions.close();
  }
}

function line(cli: Cli, event: ApiEvent, withPipeline: boolean): string {
  const text = eventLine(event, cli.style) ?? `${cli.style.dim(event.at.slice(11, 19))}  ${event.stage ?? "pipeline"}  ${cli.style.dim(event.type)}`;
  return withPipeline ? `${cli.style.dim(event.pipelineId)}  ${text}` : text;
}
