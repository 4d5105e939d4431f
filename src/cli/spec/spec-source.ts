// A specification as the user wrote it: its value, and where each part of it stands in the text.
//   S1. YAML and JSON go the same way (JSON is YAML), so both have positions.
//   S2. A JSON path of a problem finds the deepest part of the text that it names; what is missing is shown at the object it is missing from.
import { isAlias, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, type Document, type Node, type Pair } from "yaml";

export interface Position {
  /** From 1. */
  readonly line: number;
  /** From 1, in characters. */
  readonly column: number;
  /** Characters to underline; at least 1. */
  readonly length: number;
}

export interface SpecSource {
  /** As given on the command line; "-" is stdin. */
  readonly file: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** The parsed value; undefined when the text cannot be parsed. */
  readonly value: unknown;
  readonly syntaxErrors: readonly (Position & { readonly message: string })[];
  /** Where a JSON path such as `stages[1].dependsOn[0]` stands; null for a path of nothing. `preferKey`: the key, when the path names a pair. */
  locate(path: string, preferKey?: boolean): Position | null;
}

/** References resolve only so far: a few aliases of a large list must not become gigabytes. */
const MAX_ALIASES = 1_000;

export function parseSpec(text: string, file: string): SpecSource {
  const counter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: counter, prettyErrors: false, merge: true, uniqueKeys: true });
  const list = Array.isArray(documents) ? (documents as readonly Document[]) : [];
  const document = list[0] ?? null;
  const at = (from: number, to: number): Position => {
    const { line, col } = counter.linePos(from);
    const lineEnd = text.indexOf("\n", from);
    return { line: Math.max(1, line), column: Math.max(1, col), length: Math.max(1, Math.min(to, lineEnd < 0 ? text.length : lineEnd) - from) };
  };
  const errors = (document?.errors ?? []).map((error) => ({ ...at(error.pos[0], error.pos[1]), message: error.message }));
  const second = list[1];
  if (second?.range && errors.length === 0) errors.push({ ...at(second.range[0], second.range[0] + 1), message: "A file holds one pipeline; here a second document begins" });
  if (document === null || (document.contents === null && errors.length === 0)) errors.push({ line: 1, column: 1, length: 1, message: "The file holds no pipeline" });
  let value: unknown;
  try {
    value = errors.length === 0 ? document?.toJS({ maxAliasCount: MAX_ALIASES }) : undefined;
  } catch (error) {
    errors.push({ line: 1, column: 1, length: 1, message: (error as Error).message });
  }
  return {
    file,
    text,
    lines: text.split(/\r?\n/),
    value,
    syntaxErrors: errors,
    locate(path, preferKey = false) {
      if (document === null || document.contents === null) return null;
      const found = walk(document, document.contents as Node, path, preferKey);
      return found === null ? null : at(found[0], found[1]);
    },
  };
}

type Range = readonly [number, number];

/** S2. A scalar shows itself; an object or list shows its key where it has one, as its own text may fill the screen. */
function walk(document: Document, root: Node, path: string, preferKey: boolean): Range | null {
  let node: Node = root;
  let key: Range | null = null;
  let rest = path;
  while (rest !== "") {
    const step: { node: Node | null; key: Range | null; rest: string } | null = stepInto(document, node, rest);
    if (step === null) return missingFrom(node, key);
    key = step.key;
    rest = step.rest;
    if (step.node === null) return key;
    node = step.node;
  }
  if (key !== null && (preferKey || !isScalar(node))) return key;
  return rangeOf(node);
}

function missingFrom(node: Node, key: Range | null): Range | null {
  const first = isMap(node) ? node.items[0] : undefined;
  if (first !== undefined && isNode(first.key)) return rangeOf(first.key); // `- name: x`: the head of the object that lacks something
  return key ?? rangeOf(node);
}

/** One step along the path. Keys may hold dots: the longest key that fits is meant. */
function stepInto(document: Document, container: Node, path: string): { node: Node | null; key: Range | null; rest: string } | null {
  const node = isAlias(container) ? (container.resolve(document) ?? container) : container;
  const index = /^\[(\d+)\]\.?/.exec(path);
  if (index !== null && isSeq(node)) {
    const item = node.items[Number(index[1])];
    return item === undefined ? null : { ...valueOf(item), rest: path.slice(index[0].length) };
  }
  if (!isMap(node)) return null;
  const quoted = /^\[("(?:[^"\\]|\\.)*")\]\.?/.exec(path);
  let best: { pair: Pair; rest: string; length: number } | null = null;
  for (const pair of node.items) {
    const name = isScalar(pair.key) ? String(pair.key.value) : null;
    if (name === null) continue;
    if (quoted !== null) {
      if (name === JSON.parse(quoted[1]!)) return { ...valueOf(pair), rest: path.slice(quoted[0].length) };
      continue;
    }
    if (!path.startsWith(name) || !["", ".", "["].includes(path.charAt(name.length)) || name.length <= (best?.length ?? -1)) continue;
    best = { pair, rest: path.slice(name.length).replace(/^\./, ""), length: name.length };
  }
  return best === null ? null : { ...valueOf(best.pair), rest: best.rest };
}

function valueOf(item: unknown): { node: Node | null; key: Range | null } {
  if (isPair(item)) return { node: isNode(item.value) ? item.value : null, key: isNode(item.key) ? rangeOf(item.key) : null };
  return { node: isNode(item) ? item : null, key: null };
}

function rangeOf(node: Node): Range | null {
  return node.range ? [node.range[0], Math.max(node.range[0] + 1, node.range[1])] : null;
}
