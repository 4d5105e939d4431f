// Data sets: immutable versions of data files, what is in them, who made and who read them, and registering more.

import { CONTROL_PLANE, listVersions, selectDatasets, type DatasetFile as FileRow, type DatasetRow } from "../db/datasets.js";
import { createdMicros, isNewer, isOlder, nameContains } from "../db/newest-first.js";
import { parseDatasetRef, type DatasetColumn as ColumnFacts } from "../domain/data/dataset.js";
import { DATA_TASKS, type DataTask } from "../domain/data/preprocess-params.js";
import { ConflictError } from "../domain/errors.js";
import { isId } from "../domain/ids.js";
import type { DatasetPage as PageFacts } from "../registry/registry.js";
import { badInput } from "./api-errors.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Conflict, Forbidden, InvalidInput, memberOf } from "./domain-error.js";
import { audited } from "./mutation.js";
import { Node, nodeKind } from "./node.js";
import { decodeListPlace, encodeListPlace, pageOf, PageInfo, pageSize, readPageArgs, type ConnectionShape } from "./paging.js";
import { Stage } from "./stage.js";
import { algorithmsFor, TrainingAlgorithm } from "./training-algorithm.js";

const DataTaskType = builder.enumType("DataTask", {
  description: "What columns are laid out for. SFT: messages. RL: prompt, data_source, ability, reward_model, extra_info as verl reads them. PREFERENCE: prompt, chosen, rejected as TRL reads them.",
  values: Object.fromEntries(DATA_TASKS.map((task) => [task.toUpperCase(), { value: task }])) as Record<Uppercase<DataTask>, { value: DataTask }>,
});

export const DatasetColumn = builder.objectRef<ColumnFacts>("DatasetColumn").implement({
  description: "A column of a data file.",
  fields: (t) => ({
    name: t.exposeString("name"),
    type: t.exposeString("type", { description: "string, integer, number, boolean, list<…>, struct<…>, json where types are mixed, null where there is nothing else." }),
    nullCount: t.expose("nullCount", { type: "SafeInt", description: "Rows in which it is null or missing." }),
  }),
});

const DatasetFile = builder.objectRef<FileRow>("DatasetFile").implement({
  description: "A place where a version lies, as it was last seen.",
  fields: (t) => ({
    host: t.string({ description: "Name of the agent that has it; \"control plane\" for the server's own disk.", resolve: hostOf }),
    path: t.exposeString("path"),
    seenAt: t.expose("seenAt", { type: "DateTime" }),
  }),
});

function hostOf(file: FileRow): string {
  return file.agentId === CONTROL_PLANE ? "control plane" : (file.agentName ?? file.agentId);
}

const DatasetPageSource = builder.enumType("DatasetPageSource", {
  description: "FILE: read from a file with exactly the registered content. SAMPLE: the first rows, kept when the version was registered.", values: ["FILE", "SAMPLE"] as const,
});

const DatasetPage = builder.objectRef<PageFacts>("DatasetPage").implement({
  description: "Some rows of a version, in the order of the file.",
  fields: (t) => ({
    rows: t.field({ type: ["JSON"], resolve: ({ rows }) => [...rows] }),
    from: t.expose("from", { type: "SafeInt", description: "Number of the first row, from 0." }),
    source: t.expose("source", { type: DatasetPageSource }),
    note: t.exposeString("note", { nullable: true, description: "Why these are rows of the sample, and what that leaves out; null for rows of the file." }),
  }),
});

export const Dataset = builder.objectRef<DatasetRow>("Dataset");
Dataset.implement({
  description: "An immutable version of a data file: the same content under the same name is the same version.",
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString("name"),
    version: t.exposeInt("version", { description: "1, 2, 3 … within the name." }),
    path: t.string({ description: "One of the places where it lies; `files` has all of them, with their hosts.", resolve: async (row, _args, { loaders }) => (await loaders.filesOf.load(row.id))[0]?.path ?? "" }),
    format: t.exposeString("format", { description: "jsonl, json, csv, tsv or parquet." }),
    contentHash: t.exposeString("contentHash", { description: "sha256 of the file, hex." }),
    rows: t.expose("rows", { type: "SafeInt" }),
    unreadableRows: t.expose("unreadableRows", { type: "SafeInt", description: "Rows among them that cannot be read as what the file claims to be; columns and statistics are about the others." }),
    sizeBytes: t.expose("sizeBytes", { type: "SafeInt" }),
    columns: t.field({ type: [DatasetColumn], resolve: (row) => [...row.columns] }),
    tasks: t.field({ type: [DataTaskType], description: "Tasks that the columns can serve as they are; none for raw data, which a preprocess stage makes ready.", resolve: (row) => [...row.tasks] }),
    suitableFor: t.field({ type: [TrainingAlgorithm], description: "Algorithms that it can train as it is.", resolve: (row) => algorithmsFor(row.tasks) }),
    statistics: t.field({
      type: "JSON", nullable: true, description: "Lengths per role or column, turns, tokens, counts of values; docs/data.md explains them. Null when none were gathered.",
      resolve: async (row, _args, { loaders }) => (await loaders.statisticsOf.load(row.id))?.statistics ?? null,
    }),
    preview: t.field({
      type: ["JSON"], description: "Rows from number `from` on. Fails when they are in no file that this server can read; `page` then gives what there is and says so.",
      args: { first: t.arg.int({ defaultValue: 10, description: "1 to 100." }), from: t.arg({ type: "SafeInt", defaultValue: 0 }) },
      resolve: async (row, { first, from }, context) => {
        const page = await pageFor(row, first, from, context);
        if (page.note !== null && page.rows.length === 0) throw new ConflictError("ROWS_NOT_REACHABLE", page.note);
        return [...page.rows];
      },
    }),
    page: t.field({
      type: DatasetPage, description: "Rows from number `from` on, with where they come from.",
      args: { first: t.arg.int({ defaultValue: 10, description: "1 to 100." }), from: t.arg({ type: "SafeInt", defaultValue: 0 }) },
      resolve: (row, { first, from }, context) => pageFor(row, first, from, context),
    }),
    files: t.field({ type: [DatasetFile], description: "Where it lies: the server's own files first, then the newest.", resolve: async (row, _args, { loaders }) => [...(await loaders.filesOf.load(row.id))] }),
    madeBy: t.field({
      type: Stage, nullable: true, description: "The stage that first made it; null when it was only registered.",
      resolve: (row, _args, { loaders }) => (row.madeByStage === null ? null : loaders.stage.load(row.madeByStage)),
    }),
    readBy: t.field({
      type: [Stage], description: "Stages that read this content, under whatever name, in the order of their first reading.",
      resolve: async (row, _args, { loaders }) => {
        const stages = await Promise.all((await loaders.readersOf.load(row.contentHash)).map(({ stageId }) => loaders.stage.load(stageId)));
        return stages.filter((stage) => stage !== null);
      },
    }),
    versions: t.field({
      type: [Dataset], description: "Versions of the same name, newest first.", args: { first: t.arg.int({ defaultValue: 20 }) },
      resolve: (row, { first }, { deps }) => listVersions(deps.db, row.name, pageSize(first ?? 20, "first")),
    }),
    createdBy: t.exposeString("createdBy", { description: "Name of the token that registered it, or that submitted the pipeline whose stage made it." }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
  }),
});
nodeKind("dst", (id, { loaders }) => (isId("dst", id) ? loaders.dataset.load(id) : Promise.resolve(null)));

function pageFor(row: DatasetRow, first: number | null | undefined, from: number | null | undefined, { deps }: Context): Promise<PageFacts> {
  if ((from ?? 0) < 0) throw badInput("`from` is the number of a row, from 0.");
  return deps.registry.page(row, from ?? 0, pageSize(first ?? 10, "first"));
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────

builder.queryField("dataset", (t) => t.field({
  type: Dataset, nullable: true, args: { id: t.arg.id({ required: true, description: "Its id; also <name> for the newest version, or <name>@<version>." }) },
  resolve: (_root, { id }, { loaders }) => datasetByText(id, loaders),
}));

/** The version that an id, a name or `<name>@<version>` stands for; null when there is none. */
export async function datasetByText(text: string, loaders: Context["loaders"]): Promise<DatasetRow | null> {
  const ref = parseDatasetRef(text);
  if (ref === null) return null;
  return "id" in ref ? loaders.dataset.load(ref.id) : loaders.datasetByRef.load({ ref: text, at: FOREVER });
}
/** Later than any version. */
const FOREVER = new Date("9999-12-31");

const DatasetEdge = builder.objectRef<{ readonly node: DatasetRow; readonly cursor: string }>("DatasetEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: Dataset }), cursor: t.exposeString("cursor") }),
});
const DatasetConnection = builder.objectRef<ConnectionShape<DatasetRow>>("DatasetConnection").implement({
  fields: (t) => ({
    edges: t.field({ type: [DatasetEdge], nullable: { list: false, items: true }, resolve: ({ edges }) => [...edges] }),
    pageInfo: t.expose("pageInfo", { type: PageInfo }),
  }),
});

builder.queryField("datasets", (t) => t.field({
  type: DatasetConnection, description: "Versions of data sets, newest first.",
  args: {
    first: t.arg.int(), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(),
    name: t.arg.string({ description: "Only those whose name contains this, in any case." }),
  },
  resolve: async (_root, args, { deps }) => {
    const asked = readPageArgs(args, (cursor) => decodeListPlace(cursor, "dsts", "dst"));
    const way = asked.forward ? "desc" : "asc";
    let query = selectDatasets(deps.db).select(createdMicros.as("createdMicros"))
      .orderBy("created_at", way).orderBy("id", way).limit(asked.size + 1);
    if (args.name != null && args.name !== "") query = query.where(nameContains(args.name));
    if (asked.after !== null) query = query.where(isOlder(asked.after));
    if (asked.before !== null) query = query.where(isNewer(asked.before));
    return pageOf(asked, await query.execute(), (row) => encodeListPlace("dsts", row));
  },
}));

// ── acting ──────────────────────────────────────────────────────────────────────────────────────────

const RegisterDatasetInput = builder.inputType("RegisterDatasetInput", {
  fields: (t) => ({
    name: t.string({ required: true, description: "Letters, digits, '.', '_', '-' and '/', up to 200." }),
    path: t.string({ required: true, description: "A file in the data directories of the control plane (TRAINYARD_DATA_DIRS), or the id of an upload (upl_…)." }),
  }),
});
const RegisterDatasetPayload = builder.objectRef<{ readonly dataset: DatasetRow }>("RegisterDatasetPayload").implement({ fields: (t) => ({ dataset: t.expose("dataset", { type: Dataset }) }) });
const RegisterDatasetResult = builder.unionType("RegisterDatasetResult", { types: [RegisterDatasetPayload, InvalidInput, Conflict, Forbidden], resolveType: memberOf("RegisterDatasetPayload") });

builder.mutationField("registerDataset", (t) => t.field({
  type: RegisterDatasetResult,
  description: "Reads a file and registers it as a version of the name. A content that is registered under the name already answers the version that it is; under another name it becomes another data set.",
  args: { input: t.arg({ type: RegisterDatasetInput, required: true }) },
  resolve: audited({
    subject: () => null,
    run: async ({ input }: { input: typeof RegisterDatasetInput.$inferInput }, { principal, audit }, { deps }) => ({
      dataset: await deps.registry.register({ name: input.name, path: input.path, by: principal.name }, (trx, id) => audit(trx, id)),
    }),
  }),
}));
