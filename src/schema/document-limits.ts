// What a document may ask for: depth, aliases, directives, and a price that knows which lists are long and what `first` says.
//   D1. Everything is reported as an error of the document; nothing throws, so a refusal never closes a socket.
//   D2. One walk over the document, every fragment once: the work is linear in its size, whatever it spells out to. Cycles cost nothing here and are another
//       rule's business.
//   D3. `first`, `last` and `maxPoints` are priced by their value, also when it comes as a variable.

import {
  getNamedType, getNullableType, GraphQLError, isCompositeType, isInterfaceType, isListType, isObjectType, Kind,
  type ASTVisitor, type DocumentNode, type FieldNode, type FragmentDefinitionNode, type GraphQLField, type GraphQLNamedType, type GraphQLSchema,
  type OperationDefinitionNode, type SelectionSetNode, type ValidationContext,
} from "graphql";
import { MAX_POINTS } from "./metric.js";
import { MAX_PAGE } from "./paging.js";

export const DOCUMENT_LIMITS = {
  /** Tokens of the source text. */
  tokens: 2_000,
  depth: 20,
  aliases: 60,
  directives: 50,
  /** Fields that an answer may be expected to hold. */
  cost: 50_000,
} as const;

/** Items expected of a list field. Those with `first`, `last` or `maxPoints` are priced by these; others not named here count as DEFAULT_LIST. */
const LIST_SIZES: Readonly<Record<string, number>> = {
  "Pipeline.stages": 20, "Pipeline.layers": 1, "Stage.attempts": 2, "Stage.metrics": 5, "Stage.checkpoints": 5, "Stage.evaluations": 2, "Stage.dependsOn": 1, "Stage.waitReasons": 1,
  "MetricSeries.points": 1, "StageError.logTail": 1, "Attempt.command": 1, "Agent.queues": 4, "Agent.pools": 2, "Agent.gpus": 8, "Agent.running": 4, "Query.agents": 20, "Query.queues": 10,
  "PipelineConnection.edges": 1, "AuditConnection.edges": 1,
  "TrainingJobConnection.edges": 1, "TrainingJob.metrics": 5, "TrainingJob.checkpoints": 5, "TrainingJob.evaluations": 2, "TrainingJob.anomalies": 5, "MemoryEstimate.parts": 5, "Query.recipes": 20, "SampleConnection.edges": 1, "TrainingJob.sampleSets": 20,
  "DatasetConnection.edges": 1, "Dataset.columns": 20, "Dataset.suitableFor": 5, "Dataset.tasks": 1, "Dataset.files": 3, "Dataset.readBy": 5, "Stage.datasetsMade": 2, "Stage.datasetsRead": 2,
};
const DEFAULT_LIST = 10;
/** Fields without fields below them that cost more than one. */
const LEAF_PRICES: Readonly<Record<string, number>> = { "Stage.waitReasons": 5, "Stage.metricNames": 5, "TrainingJob.metricNames": 5, "TrainingJob.script": 50, "Pipeline.spec": 20, "Pipeline.layers": 20, "Dataset.preview": 400, "Dataset.statistics": 20 };
/** Fields that take `first` or `last`, and what they give when neither is there. */
const PAGE_SIZES: Readonly<Record<string, number>> = { "Query.pipelines": 50, "Query.audit": 50, "Query.events": 100, "Pipeline.events": 100, "Query.datasets": 50, "Query.trainingJobs": 50, "TrainingJob.samples": 20, "Dataset.versions": 20 };
/** Points of a series are cheap: this many cost as much as one field. */
const POINTS_PER_FIELD = 20;
const DEFAULT_POINTS = 1_000;

interface Measures { depth: number; aliases: number; directives: number; cost: number }
type Variables = Readonly<Record<string, unknown>>;

/** The validation rule for what can be known without variables. */
export function documentLimitsRule(context: ValidationContext): ASTVisitor {
  return {
    Document: {
      enter(document) {
        for (const definition of document.definitions) {
          if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
          const found = measure(context.getSchema(), document, definition, null);
          const report = (what: string, limit: number, count: number) => context.reportError(tooMuch(`The ${what} of this operation is ${count}; up to ${limit} is allowed. Ask for less at once.`, definition));
          if (found.depth > DOCUMENT_LIMITS.depth) report("depth", DOCUMENT_LIMITS.depth, found.depth);
          if (found.aliases > DOCUMENT_LIMITS.aliases) report("number of aliases", DOCUMENT_LIMITS.aliases, found.aliases);
          if (found.directives > DOCUMENT_LIMITS.directives) report("number of directives", DOCUMENT_LIMITS.directives, found.directives);
        }
      },
    },
  };
}

/** The error of an operation that costs too much with these variables, or null. Expects a valid document. */
export function priceProblem(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Variables): GraphQLError | null {
  const defaults = Object.fromEntries((operation.variableDefinitions ?? []).flatMap(({ variable, defaultValue }) =>
    defaultValue?.kind === Kind.INT ? [[variable.name.value, Number(defaultValue.value)]] : []));
  const { cost } = measure(schema, document, operation, { ...defaults, ...variables });
  if (cost <= DOCUMENT_LIMITS.cost) return null;
  return tooMuch(`This operation may ask for about ${Math.round(cost)} fields; up to ${DOCUMENT_LIMITS.cost} are allowed. Ask for fewer items with \`first\`, or for fewer nested lists.`, operation);
}

function tooMuch(message: string, node: OperationDefinitionNode): GraphQLError {
  return new GraphQLError(message, { nodes: node, extensions: { code: "DOCUMENT_LIMIT", http: { status: 400, spec: true } } });
}

/** D2. `variables` null: sizes that come as variables count as nothing. */
function measure(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Variables | null): Measures {
  const fragments = new Map(document.definitions.flatMap((definition): [string, FragmentDefinitionNode][] => (definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [])));
  const measured = new Map<string, Measures>();

  function ofSelections(set: SelectionSetNode, type: GraphQLNamedType | undefined): Measures {
    const sum: Measures = { depth: 0, aliases: 0, directives: 0, cost: 0 };
    for (const selection of set.selections) {
      sum.directives += selection.directives?.length ?? 0;
      if (selection.kind === Kind.FIELD) add(sum, ofField(selection, type));
      else if (selection.kind === Kind.INLINE_FRAGMENT) add(sum, ofSelections(selection.selectionSet, selection.typeCondition === undefined ? type : schema.getType(selection.typeCondition.name.value)));
      else add(sum, ofFragment(selection.name.value));
    }
    return sum;
  }

  function ofFragment(name: string): Measures {
    const known = measured.get(name);
    if (known !== undefined) return known;
    const nothing: Measures = { depth: 0, aliases: 0, directives: 0, cost: 0 };
    measured.set(name, nothing); // a cycle ends here
    const fragment = fragments.get(name);
    if (fragment === undefined) return nothing;
    const found = ofSelections(fragment.selectionSet, schema.getType(fragment.typeCondition.name.value));
    found.directives += fragment.directives?.length ?? 0;
    measured.set(name, found);
    return found;
  }

  function ofField(node: FieldNode, parent: GraphQLNamedType | undefined): Measures {
    const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[node.name.value] : undefined;
    const inside = node.selectionSet === undefined ? { depth: 0, aliases: 0, directives: 0, cost: 0 } : ofSelections(node.selectionSet, field === undefined ? undefined : getNamedType(field.type));
    const times = field === undefined || parent === undefined ? 1 : sizeOf(node, field, parent.name, variables);
    const leaf = field === undefined || !isCompositeType(getNamedType(field.type));
    return { depth: inside.depth + 1, aliases: inside.aliases + (node.alias === undefined ? 0 : 1), directives: inside.directives, cost: leaf ? (LEAF_PRICES[`${parent?.name}.${node.name.value}`] ?? 1) : 1 + times * inside.cost };
  }

  const root = operation.operation === "query" ? schema.getQueryType() : operation.operation === "mutation" ? schema.getMutationType() : schema.getSubscriptionType();
  const found = ofSelections(operation.selectionSet, root ?? undefined);
  found.directives += operation.directives?.length ?? 0;
  return found;
}

function add(sum: Measures, part: Measures): void {
  sum.depth = Math.max(sum.depth, part.depth);
  sum.aliases += part.aliases;
  sum.directives += part.directives;
  sum.cost += part.cost;
}

/** D3. How many items the field is expected to hold. */
function sizeOf(node: FieldNode, field: GraphQLField<unknown, unknown>, parent: string, variables: Variables | null): number {
  const name = `${parent}.${field.name}`;
  const asked = (argument: string): number | null => {
    const value = node.arguments?.find((candidate) => candidate.name.value === argument)?.value;
    if (value?.kind === Kind.INT) return Math.max(0, Number(value.value));
    if (value?.kind !== Kind.VARIABLE) return null;
    const given = variables?.[value.name.value];
    return typeof given === "number" && given >= 0 ? given : null;
  };
  const page = PAGE_SIZES[name];
  if (page !== undefined) return Math.min(asked("first") ?? asked("last") ?? page, MAX_PAGE); // more than that is refused by the field, in better words
  const size = LIST_SIZES[name] ?? (isListType(getNullableType(field.type)) ? DEFAULT_LIST : 1);
  const takesPoints = field.args.some((argument) => argument.name === "maxPoints");
  return takesPoints ? size * Math.max(1, Math.min(asked("maxPoints") ?? DEFAULT_POINTS, MAX_POINTS) / POINTS_PER_FIELD) : size;
}
