// Why a sound row is left out. Broken rows are rejected instead: REJECT_REASONS in read/records.ts.

export const DROP_REASONS = {
  EMPTY_ANSWER: "the answer is empty or blank",
  TOO_SHORT: "fewer characters than filter.minChars", TOO_LONG: "more characters than filter.maxChars",
  ROLE_TOO_SHORT: "fewer characters of one role than filter.roles wants", ROLE_TOO_LONG: "more characters of one role than filter.roles allows",
  TOO_FEW_TURNS: "fewer messages than filter.minTurns", TOO_MANY_TURNS: "more messages than filter.maxTurns",
  TOO_FEW_TOKENS: "fewer tokens than filter.minTokens", TOO_MANY_TOKENS: "more tokens than filter.maxTokens",
  OTHER_SCRIPT: "too many letters of other scripts than filter.scripts", NO_MATCH: "no message matches filter.match", UNWANTED_MATCH: "a message matches filter.noMatch",
  DUPLICATE: "equal to an earlier row", NEAR_DUPLICATE: "nearly equal to an earlier row",
  NOT_SAMPLED: "beyond maxRows, or beyond what the weights of the inputs allow",
} as const;
export type DropReason = keyof typeof DROP_REASONS;
