// What a dialogue must look like to be trained on, and what makes two questions the same.

import type { Message, Role } from "./training-row.js";

const MAY_FOLLOW: Readonly<Record<Role, ReadonlySet<Role>>> = {
  system: new Set<Role>(["user"]),
  user: new Set<Role>(["assistant"]),
  assistant: new Set<Role>(["user", "tool"]),
  tool: new Set<Role>(["assistant", "tool"]),
};

/** Why chat templates would refuse or garble these messages, in words; null when they are fine. They may start with a system prompt, go on with the user, and
 *  then alternate, with tools' results between two messages of the assistant; what is asked is not blank; they end with `last`. */
export function dialogueProblem(messages: readonly Message[], last: "user" | "assistant"): string | null {
  if (messages.length === 0) return "There are no messages.";
  let before: Role | null = null;
  for (let index = 0; index < messages.length; index++) {
    const { role, content } = messages[index]!;
    if (before === null ? role !== "system" && role !== "user" : !MAY_FOLLOW[before].has(role)) {
      return role === "system" ? `Message ${index + 1} is a system prompt; only the first may be one.`
        : before === null ? `The first message is the ${role}'s; it must be the system's or the user's.` : `Message ${index + 1} is the ${role}'s and follows the ${before}'s.`;
    }
    if (role === "user" && isBlank(content)) return `Message ${index + 1}, the user's, is blank.`;
    before = role;
  }
  return before === last ? null : `The last message is the ${before}'s; it must be the ${last}'s.`;
}

/** Whether a text has nothing but white space. */
export function isBlank(text: string): boolean {
  return !VISIBLE.test(text);
}

const VISIBLE = /\S/;

/** What rows with an equal question share, whatever shape they come in: the text of a single user message, otherwise roles and texts of all but the system's. */
export function promptKeyOf(prompt: readonly Message[]): string {
  const asked = prompt.filter((message) => message.role !== "system");
  if (asked.length === 1) return asked[0]!.content.trim();
  return asked.map((message) => `${message.role}\0${message.content.trim()}\0`).join("");
}
