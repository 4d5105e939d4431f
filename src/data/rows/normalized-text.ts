// When two texts count as written differently only: `dedupe: normalized` and near duplicates compare this.

/** Unicode NFKC, lower case, without invisible marks, surplus space, and punctuation. Punctuation that calculates stays: a sign before a digit, and % after one, so
 *  that 12-5, 12/5, 1.5 and 30% remain different questions. */
export function normalizedText(text: string): string {
  return BEYOND_ASCII.test(text) ? normalizedUnicode(text) : normalizedAscii(text);
}
const BEYOND_ASCII = /[^\0-\x7f]/;

/** The definition, for any text; exported to be compared with the short cut. */
export function normalizedUnicode(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(IDLE_PUNCTUATION, " ").replace(SURPLUS_SPACE, " ").trim();
}
const IDLE_PUNCTUATION = /\p{P}(?<![-*/.,:](?=\d)|[-*/](?=\s\d)|(?<=\d)%)/gu;
/** Single spaces need no replacing, and they are most. */
const SURPLUS_SPACE = /[\s\p{Cf}]{2,}|[^\S ]|\p{Cf}/gu;

const KEPT = 0;
const SPACE = 1;
const PUNCTUATION = 2;
const CLASS = Uint8Array.from({ length: 128 }, (_, code) => (/\s/.test(String.fromCharCode(code)) ? SPACE : /\p{P}/u.test(String.fromCharCode(code)) ? PUNCTUATION : KEPT));
const LOWER = Uint8Array.from({ length: 128 }, (_, code) => String.fromCharCode(code).toLowerCase().charCodeAt(0));

/** The same in one pass where every character is one byte: four times as fast as the regular expressions. */
function normalizedAscii(text: string): string {
  const bytes = Buffer.allocUnsafe(text.length);
  let end = 0;
  let pending = false; // a space is due before the next character that stays
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    const kind = CLASS[code]!;
    if (kind === SPACE || (kind === PUNCTUATION && !calculates(text, index, code))) {
      pending = end > 0;
      continue;
    }
    if (pending) bytes[end++] = 0x20;
    pending = false;
    bytes[end++] = LOWER[code]!;
  }
  return bytes.toString("latin1", 0, end);
}

const [PERCENT, STAR, COMMA, MINUS, DOT, SLASH, COLON] = [0x25, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x3a];

function calculates(text: string, index: number, code: number): boolean {
  if (code === PERCENT) return isDigit(text, index - 1);
  const operator = code === MINUS || code === STAR || code === SLASH;
  if (!operator && code !== DOT && code !== COMMA && code !== COLON) return false;
  return isDigit(text, index + 1) || (operator && CLASS[text.charCodeAt(index + 1)] === SPACE && isDigit(text, index + 2));
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index);
  return code >= 0x30 && code <= 0x39;
}
