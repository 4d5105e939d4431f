// What two versions of data sets have in common and what not.

import { COLUMN_CHANGES, LENGTH_KINDS, type CategoryShift, type ColumnChange, type DatasetDiff as DiffFacts, type DiffRow, type LengthShift } from "../domain/data/dataset-diff.js";
import type { DatasetRow } from "../db/datasets.js";
import { NotFoundError } from "../domain/errors.js";
import { builder } from "./builder.js";
import { Dataset, datasetByText, DatasetColumn } from "./dataset.js";

const DatasetColumnChangeKind = builder.enumType("DatasetColumnChangeKind", {
  description: "TYPE: another type. NULLS: the same type, but only one side has rows in which it is null.", values: COLUMN_CHANGES,
});
const ColumnChangeType = builder.objectRef<ColumnChange>("DatasetColumnChange").implement({
  description: "A column that is not the same on both sides.",
  fields: (t) => ({
    name: t.exposeString("name"),
    change: t.field({ type: DatasetColumnChangeKind, resolve: ({ change }) => change }),
    from: t.expose("from", { type: DatasetColumn, nullable: true }),
    to: t.expose("to", { type: DatasetColumn, nullable: true }),
  }),
});

const DatasetLengthKind = builder.enumType("DatasetLengthKind", {
  description: "CHARACTERS of a role or text column, TURNS of the dialogue, TOKENS of the row as estimated from its characters.", values: LENGTH_KINDS,
});
const LengthShiftType = builder.objectRef<LengthShift>("DatasetLengthShift").implement({
  description: "How long something is per row on both sides, measured in the same way on each.",
  fields: (t) => ({
    kind: t.field({ type: DatasetLengthKind, resolve: ({ kind }) => kind }),
    name: t.exposeString("name", { nullable: true, description: "The role or column of CHARACTERS." }),
    from: t.expose("from", { type: "JSON", nullable: true, description: "count, min, p5, p25, p50, p75, p95, p99, max, mean; null when no row has it." }),
    to: t.expose("to", { type: "JSON", nullable: true }),
  }),
});

const CategoryShiftType = builder.objectRef<CategoryShift>("DatasetCategoryShift").implement({
  description: "How often the values of a column occur on both sides; columns with few different values are found out by themselves.",
  fields: (t) => ({
    column: t.exposeString("column", { description: "<column>, or <column>.<field> in a struct." }),
    from: t.expose("from", { type: "JSON", description: "Value → rows; rows without a value under \"null\"." }),
    to: t.expose("to", { type: "JSON" }),
    distance: t.exposeFloat("distance", { description: "Share of the rows that would have to change their value for both sides to be distributed alike, 0 to 1." }),
  }),
});

const DiffRowType = builder.objectRef<DiffRow>("DatasetDiffRow").implement({
  description: "A row that only one side has.",
  fields: (t) => ({
    row: t.expose("row", { type: "SafeInt", description: "Its number in the file, from 0." }),
    value: t.expose("value", { type: "JSON", description: "The row, long texts cut." }),
  }),
});

interface Compared extends DiffFacts { readonly ends: { readonly from: DatasetRow; readonly to: DatasetRow } }

const DatasetDiff = builder.objectRef<Compared>("DatasetDiff").implement({
  description: "What changed between two versions. Rows are compared by their content, whatever the order of fields and rows; a row that occurs twice is two rows, and rows that cannot be read are left out.",
  fields: (t) => ({
    from: t.field({ type: Dataset, resolve: ({ ends }) => ends.from }),
    to: t.field({ type: Dataset, resolve: ({ ends }) => ends.to }),
    sameContent: t.exposeBoolean("sameContent", { description: "Both are the same bytes; then lengths and categories were not measured." }),
    rowsSame: t.expose("rowsSame", { type: "SafeInt" }),
    rowsAdded: t.expose("rowsAdded", { type: "SafeInt", description: "Rows that only `to` has." }),
    rowsRemoved: t.expose("rowsRemoved", { type: "SafeInt", description: "Rows that only `from` has." }),
    columns: t.field({ type: [ColumnChangeType], resolve: ({ columns }) => [...columns] }),
    lengths: t.field({ type: [LengthShiftType], resolve: ({ lengths }) => [...lengths] }),
    categories: t.field({ type: [CategoryShiftType], description: "Those that differ most first.", resolve: ({ categories }) => [...categories] }),
    added: t.field({ type: [DiffRowType], description: "Some of the rows that only `to` has.", resolve: ({ added }) => [...added] }),
    removed: t.field({ type: [DiffRowType], description: "Some of the rows that only `from` has.", resolve: ({ removed }) => [...removed] }),
  }),
});

builder.queryField("datasetDiff", (t) => t.field({
  type: DatasetDiff,
  description: "Compares the rows of two versions, which must lie in files that this server can read. Reads both; when the connection breaks off, ask again and get the comparison that is under way.",
  args: {
    from: t.arg.id({ required: true, description: "An id, a name for its newest version, or <name>@<version>." }),
    to: t.arg.id({ required: true, description: "The same." }),
  },
  resolve: async (_root, args, { loaders, deps }) => {
    const [from, to] = await Promise.all([args.from, args.to].map(async (text) => {
      const found = await datasetByText(text, loaders);
      if (found === null) throw new NotFoundError("data set", text);
      return found;
    })) as [DatasetRow, DatasetRow];
    return { ...(await deps.registry.diff(from, to)), ends: { from, to } };
  },
}));
