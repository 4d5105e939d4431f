// The mark by which a folder that a stand-in wrote is known for what it is, wherever its path is given by hand: a key in the JSON files that describe the model.

import { readFileSync } from "node:fs";
import { join } from "node:path";

export const SIMULATED = "simulated: nothing was trained";
const KEY = "trainyard";

/** Where a model's or a checkpoint's description lies below its folder, as verl and TRL leave them. */
const DESCRIPTIONS = ["config.json", "huggingface/config.json", "actor/huggingface/config.json", "adapter_config.json"];

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

/** Whether a stand-in wrote the model or checkpoint in this folder. Not so where there is none. */
export function isSimulated(folder: string): boolean {
  return DESCRIPTIONS.some((name) => {
    try {
      return (JSON.parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown> | null)?.[KEY] === SIMULATED;
    } catch {
      return false;
    }
  });
}
