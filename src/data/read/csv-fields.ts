// One CSV or TSV record as its fields (RFC 4180): a field that begins with a quotation mark ends with one, and two inside stand for one. A mark further inside a
// plain field is text, as spreadsheets and pandas read it.

/** The fields of `record`, which has no line end; a text says what is wrong with it. */
export function fieldsOf(record: string, delimiter: string): string[] | string {
  if (!record.includes("\"")) return record.split(delimiter);
  const fields: string[] = [];
  let from = 0;
  for (;;) {
    if (record[from] !== "\"") {
      const end = record.indexOf(delimiter, from);
      fields.push(end === -1 ? record.slice(from) : record.slice(from, end));
      if (end === -1) return fields;
      from = end + 1;
      continue;
    }
    const close = closingMark(record, from);
    if (close === -1) return `the quotation mark that opens field ${fields.length + 1} is never closed`;
    const text = record.slice(from + 1, close);
    fields.push(text.includes("\"") ? text.replaceAll("\"\"", "\"") : text);
    if (close + 1 === record.length) return fields;
    if (record[close + 1] !== delimiter) return `text follows the closing quotation mark of field ${fields.length}: write two marks for one inside a field`;
    from = close + 2;
  }
}

function closingMark(record: string, open: number): number {
  for (let at = record.indexOf("\"", open + 1); at !== -1; at = record.indexOf("\"", at + 2)) if (record[at + 1] !== "\"") return at;
  return -1;
}
