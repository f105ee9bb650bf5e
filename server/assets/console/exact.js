// JSON with integers of any size. JSON.parse rounds those beyond 2^53, and a form that sends back what it loaded would
// then change a value that nobody edited. Such an integer is a BigInt here.

/** Marks an integer while it is a string. No text of the API has this character. */
const MARK = "\u0000";
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG = /^-?[1-9]\d{15,}$/;
const MARKED = /^\u0000-?\d+$/;

const isRounded = (token) => LONG.test(token) && !Number.isSafeInteger(Number(token));

export function parse(text) {
  const marked = text.replace(TOKEN, (token) => (isRounded(token) ? `"\\u0000${token}"` : token));
  return JSON.parse(marked, (_, found) => (typeof found === "string" && MARKED.test(found) ? BigInt(found.slice(1)) : found));
}

export function stringify(value, space) {
  const text = JSON.stringify(value, (_, found) => (typeof found === "bigint" ? `${MARK}${found}` : found), space);
  return text?.replace(/"\\u0000(-?\d+)"/g, "$1");
}

/** The value of a text of digits. */
export const integer = (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text));
