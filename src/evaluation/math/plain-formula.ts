// LaTeX as answers have it, made into the plain text that expression.ts reads. Only notation is changed, never a value.

import { inBraces } from "../scorers/final-answer.js";

/** Dressing: delimiters, sizes, spaces, fonts. */
const DROPPED = /\\(?:left|right|displaystyle|textstyle|bigg?|Bigg?|limits|dots|ldots)(?![A-Za-z])|\\[,!;:> ]|~|\$|\\\(|\\\)|\\\[|\\\]|\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°/g;
const FONTS = /\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mathbb|mathcal|operatorname|mbox|hbox|rm|bf)\s*\{([^{}]*)\}/g;
const SIGNS: readonly (readonly [RegExp, string])[] = [
  [/\\(?:times|cdot|ast)(?![A-Za-z])|[×·∙⋅]/g, "*"], [/\\div(?![A-Za-z])|÷/g, "/"], [/[\u2212\u2013\u2014]/g, "-"], [/\\pi(?![A-Za-z])|π/g, " pi "],
  [/\\infty(?![A-Za-z])|∞/g, " infty "], [/\\(?:leq?|leqslant)(?![A-Za-z])|≤/g, "<="], [/\\(?:geq?|geqslant)(?![A-Za-z])|≥/g, ">="], [/\\neq?(?![A-Za-z])|≠/g, "!="], [/\\(?:lt)(?![A-Za-z])/g, "<"],
  [/\\(?:gt)(?![A-Za-z])/g, ">"], [/\\(?:cup)(?![A-Za-z])|∪/g, " cup "], [/\\pm(?![A-Za-z])|±/g, "+-"], [/\\[lr]brace(?![A-Za-z])|\\([{}])/g, ""], [/\\%|％/g, "%"], [/\{,\}/g, ","],
  [/\\(?:in)(?![A-Za-z])|∈/g, " in "], [/²/g, "^2"], [/³/g, "^3"], [/½/g, "(1/2)"], [/¼/g, "(1/4)"], [/¾/g, "(3/4)"],
];
/** Longest text that is made plain, in UTF-16 units. */
const MOST_LENGTH = 4_000;

/** The formula without LaTeX's dressing. What it does not know stays, backslash and all, and is then compared as text. */
export function plainFormula(latex: string): string {
  let text = latex.slice(0, MOST_LENGTH).trim();
  text = text.replace(/\\([{}])/g, (_, brace: string) => (brace === "{" ? "⟦" : "⟧")); // braces of a set are to stay
  text = text.replaceAll(DROPPED, " ");
  for (let before = ""; before !== text;) [before, text] = [text, text.replaceAll(FONTS, " $1 ")];
  for (const [pattern, plain] of SIGNS) text = text.replaceAll(pattern, plain);
  text = fractions(text);
  text = roots(text);
  text = text.replaceAll(/\\(?=(?:arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|alpha|beta|gamma|theta|lambda|omega|phi|mu|sigma)(?![A-Za-z]))/g, " ");
  text = text.replaceAll(/([_^])\s*\{([^{}]*)\}/g, (_, sign: string, inner: string) => (sign === "_" ? `_${inner.replaceAll(/\s+/g, "")}` : `^(${inner})`));
  return text.replaceAll("{", "(").replaceAll("}", ")").replaceAll("⟦", "{").replaceAll("⟧", "}").replaceAll(/\s+/g, " ").trim();
}

/** \frac{a}{b}, \dfrac, \frac12, \frac1{2}; a whole number right before it makes a mixed number. */
function fractions(text: string): string {
  for (let rounds = 0; rounds < 50; rounds++) {
    const match = /\\[dtc]?frac\s*/.exec(text);
    if (match === null) return text;
    const [top, afterTop] = argument(text, match.index + match[0].length);
    const [bottom, end] = argument(text, afterTop);
    const mixed = /(?:^|[^\w.)}^_])-?\s*\d+\s*$/.test(text.slice(0, match.index)) && /^\s*\d+\s*$/.test(top) && /^\s*\d+\s*$/.test(bottom);
    const fraction = `((${top})/(${bottom}))`;
    if (!mixed) {
      text = text.slice(0, match.index) + fraction + text.slice(end);
      continue;
    }
    const whole = /\d+\s*$/.exec(text.slice(0, match.index))!;
    text = `${text.slice(0, whole.index)}(${whole[0].trim()}+${fraction})${text.slice(end)}`;
  }
  return text;
}

/** \sqrt{a}, \sqrt a, \sqrt[n]{a}. */
function roots(text: string): string {
  for (let rounds = 0; rounds < 50; rounds++) {
    const match = /\\sqrt\s*(?:\[([^\]]*)\])?\s*|√\s*/.exec(text);
    if (match === null) return text;
    const [under, end] = argument(text, match.index + match[0].length);
    text = text.slice(0, match.index) + (match[1] === undefined || match[1].trim() === "2" ? ` sqrt(${under})` : `((${under})^(1/(${match[1]})))`) + text.slice(end);
  }
  return text;
}

/** What a command takes: a group in braces, a group in parentheses, or (as TeX has it) one digit or letter; after a root sign also a whole number. */
function argument(text: string, at: number): [argument: string, end: number] {
  while (text[at] === " ") at++;
  if (text[at] === "{") {
    const inner = inBraces(text, at);
    return inner === null ? [text.slice(at + 1), text.length] : [inner, at + inner.length + 2];
  }
  if (text[at] === "(") {
    const close = text.indexOf(")", at);
    return close < 0 ? [text.slice(at + 1), text.length] : [text.slice(at + 1, close), close + 1];
  }
  return [text.slice(at, at + 1), at + 1];
}
