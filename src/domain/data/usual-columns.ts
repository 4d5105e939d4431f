// How columns are called in the data sets that people have: the names by which the parts of a row are recognised when `columns` does not name them.
// Compared without regard to case; earlier names win, and a column that is null counts as absent.

/** Part → its usual names, in the order in which they are looked for. */
export const USUAL_COLUMNS = {
  messages: ["messages"],
  conversations: ["conversations", "conversation"],
  prompt: ["prompt"],
  response: ["response", "completion"],
  instruction: ["instruction"],
  input: ["input", "context"],
  output: ["output"],
  question: ["question", "problem", "query"],
  answer: ["answer", "solution"],
  groundTruth: ["ground_truth", "groundtruth", "final_answer"],
  chosen: ["chosen"],
  rejected: ["rejected"],
  system: ["system", "system_prompt"],
  dataSource: ["data_source"],
  ability: ["ability"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** The part that a column can play in a row. */
export type ColumnRole = keyof typeof USUAL_COLUMNS;

/** Parts that bring the dialogue itself. When `columns` names one of them, no other of them is recognised by its name. */
export const CONTENT_ROLES = ["messages", "conversations", "prompt", "response", "instruction", "input", "output", "question", "answer", "chosen", "rejected"] as const satisfies readonly ColumnRole[];

/** Parts that ask, in the order of preference where a row has several. Without these, `input` asks. */
export const QUESTION_ROLES = ["messages", "conversations", "instruction", "prompt", "question"] as const satisfies readonly ColumnRole[];

/** Parts that answer. */
export const ANSWER_ROLES = ["response", "output", "answer"] as const satisfies readonly ColumnRole[];
