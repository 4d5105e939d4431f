// Logs of stages, by byte: slices of what is there, and what comes.

import { readLog, type LogSlice as Slice } from "../db/telemetry/logs.js";
import { NotFoundError } from "../domain/errors.js";
import { isId } from "../domain/ids.js";
import { badInput } from "./api-errors.js";
import { builder } from "./builder.js";
import { Stage } from "./stage.js";
import { logStream, type LogItem } from "./streams/log-stream.js";

const MAX_SLICE = 1_048_576;
const DEFAULT_SLICE = 65_536;

const LogSlice = builder.objectRef<Slice>("LogSlice").implement({
  description: "A piece of a log without a gap in it.",
  fields: (t) => ({
    fromByte: t.expose("fromByte", { type: "SafeInt", description: "Where the text begins: later than asked for by `skippedBytes`." }),
    toByte: t.expose("toByte", { type: "SafeInt", description: "Ask from here for the next piece." }),
    text: t.exposeString("text"),
    skippedBytes: t.expose("skippedBytes", { type: "SafeInt", description: "Bytes before `fromByte` that were left out for good." }),
    totalBytes: t.expose("totalBytes", { type: "SafeInt", description: "Where the log ends so far." }),
  }),
});

builder.objectField(Stage, "logs", (t) => t.field({
  type: LogSlice, description: "A piece of the stage's log: the logs of its attempts one after the other, secrets redacted.",
  args: {
    fromByte: t.arg({ type: "SafeInt", defaultValue: 0 }), maxBytes: t.arg.int({ defaultValue: DEFAULT_SLICE }),
    attempt: t.arg.int({ description: "Only what the attempt of this number wrote." }),
  },
  resolve: (row, { fromByte, attempt, ...asked }, { deps }) => {
    const maxBytes = asked.maxBytes ?? DEFAULT_SLICE;
    if (maxBytes < 1 || maxBytes > MAX_SLICE) throw badInput(`\`maxBytes\` is between 1 and ${MAX_SLICE}; ${maxBytes} was asked for. Read on from \`toByte\`.`);
    return readLog(deps.db, { stageId: row.id, fromByte: offset(fromByte ?? 0), maxBytes, attempt: attempt ?? null });
  },
}));

const LogChunk = builder.objectRef<LogItem>("LogChunk").implement({
  description: "Log output that came.",
  fields: (t) => ({
    fromByte: t.expose("fromByte", { type: "SafeInt" }),
    toByte: t.expose("toByte", { type: "SafeInt", description: "Resume from here." }),
    text: t.exposeString("text"),
    skippedBytes: t.expose("skippedBytes", { type: "SafeInt", description: "Bytes before `fromByte` that were left out." }),
  }),
});

builder.subscriptionField("stageLogs", (t) => t.field({
  type: LogChunk, description: "The log of one stage as it grows, from a byte offset on; without one, from its present end. A gap is declared, never silent.",
  args: { stageId: t.arg.id({ required: true }), fromByte: t.arg({ type: "SafeInt" }) },
  subscribe: (_root, { stageId, fromByte }, { deps }) => {
    if (!isId("stg", stageId)) throw new NotFoundError("stage", stageId);
    return logStream({ db: deps.db, wakeups: deps.wakeups, stageId, fromByte: fromByte == null ? null : offset(fromByte) });
  },
  resolve: (item) => item as LogItem,
}));

function offset(byte: number): number {
  if (byte < 0) throw badInput("`fromByte` is 0 or more.");
  return byte;
}
