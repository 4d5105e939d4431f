import type { Rule } from "eslint";

export declare const MAY_IMPORT: Readonly<Record<string, readonly string[]>>;
export declare const importDirection: Rule.RuleModule;
