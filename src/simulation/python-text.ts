// Numbers and structures as Python prints them.

export type PythonValue = string | number | boolean | null | Float | readonly PythonValue[] | { readonly [key: string]: PythonValue };

/** A Python float, which may be whole. `numpy`: the scalar type that numpy 2 shows around it. */
export class Float {
  readonly value: number;
  readonly numpy: string | null;
  constructor(value: number, numpy: string | null = null) {
    this.value = value;
    this.numpy = numpy;
  }
}

/** repr of a float: shortest digits, at least one after the point, an exponent below 1e-4 and from 1e16. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [digits, power] = value.toExponential().split("e") as [string, string];
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 16) {
    const plain = exponent < 0 ? value.toFixed(Math.max(0, digits.replace(/^-?\d\.?/, "").length - exponent)) : String(value);
    return plain.includes(".") ? plain : `${plain}.0`;
  }
  return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** repr of anything. A plain number that is whole is an int. */
export function reprText(value: PythonValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (value instanceof Float) return value.numpy === null ? floatText(value.value) : `np.${value.numpy}(${value.numpy.startsWith("int") ? String(value.value) : floatText(value.value)})`;
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : floatText(value);
  if (typeof value === "string") return stringText(value);
  if (isList(value)) return `[${value.map(reprText).join(", ")}]`;
  return `{${Object.entries(value).map(([key, inner]) => `${stringText(key)}: ${reprText(inner)}`).join(", ")}}`;
}

/** pprint: keys in order, one item per line where the whole does not fit into 80 columns. */
export function pprintLines(value: PythonValue, indent = 0): string[] {
  const flat = reprText(value);
  if (flat.length + indent <= 80 || value === null || typeof value !== "object" || value instanceof Float) return [flat];
  const items: readonly (readonly [string, PythonValue])[] = isList(value) ? value.map((inner) => ["", inner] as const)
    : Object.keys(value).sort().map((key) => [`${stringText(key)}: `, (value as Record<string, PythonValue>)[key]!] as const);
  const lines = items.flatMap(([label, inner], index) => {
    const [first = "", ...rest] = pprintLines(inner, indent + 1 + label.length);
    const shifted = [`${index === 0 ? "" : " "}${label}${first}`, ...rest.map((line) => " ".repeat(1 + label.length) + line)];
    if (index < items.length - 1) shifted[shifted.length - 1] += ",";
    return shifted;
  });
  const [open, close] = isList(value) ? ["[", "]"] : ["{", "}"];
  lines[0] = open + lines[0]!;
  lines[lines.length - 1] += close;
  return lines;
}

function stringText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t").replaceAll(quote, `\\${quote}`);
  return quote + escaped + quote;
}

function isList(value: PythonValue): value is readonly PythonValue[] {
  return Array.isArray(value);
}
