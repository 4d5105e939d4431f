// The mark by which a folder that a stand-in wrote is known for what it is, wherever its path is given by hand: a key in the JSON files that describe the model.

export const SIMULATED = "simulated: nothing was trained";
const KEY = "trainyard";

/** Where a model's or a checkpoint's description lies below its folder, as verl and TRL leave them. */
export const MARKED_FILES = ["config.json", "huggingface/config.json", "actor/huggingface/config.json", "adapter_config.json"];

/** The description with the mark. */
export function marked(description: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { ...description, [KEY]: SIMULATED };
}

/** The text of a JSON file that describes a model, with the mark; as it is when it holds no object. */
export function markedText(text: string): string {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null && !Array.isArray(found) ? `${JSON.stringify(marked(found as Record<string, unknown>), null, 2)}\n` : text;
  } catch {
    return text;
  }
}

/** Whether the text of such a file carries the mark. */
export function carriesMark(text: string): boolean {
  try {
    return (JSON.parse(text) as Record<string, unknown> | null)?.[KEY] === SIMULATED;
  } catch {
    return false;
  }
}
