// JSON values: differences (RFC 7396) and pointers (RFC 6901). An absent member and null are the same here.

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** An object's own member: metadata may have keys such as "constructor", "toString" or "__proto__". */
const own = (object, key) => (object !== null && object !== undefined && Object.hasOwn(object, key) ? object[key] : undefined);

export function equal(a, b) {
  const [left, right] = [a ?? null, b ?? null];
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, index) => equal(item, right[index]));
  }
  if (isObject(left) && isObject(right)) {
    return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => equal(own(left, key), own(right, key)));
  }
  return left === right;
}

/** The merge patch from `base` to `mine`: only the differences. */
export function diff(base, mine) {
  const members = [];
  for (const key of new Set([...Object.keys(base), ...Object.keys(mine)])) {
    const [before, after] = [own(base, key), own(mine, key)];
    if (equal(before, after)) continue;
    members.push([key, isObject(before) && isObject(after) ? diff(before, after) : after ?? null]);
  }
  // An assignment to "__proto__" would not add a member.
  return Object.fromEntries(members);
}

/** The keys of a JSON Pointer. */
export const keysOf = (pointer) =>
  pointer.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));

/** The value at a JSON Pointer; undefined if there is none. */
export function at(value, pointer) {
  return keysOf(pointer).reduce(own, value);
}

/** A copy of `value` with another value at a JSON Pointer. */
export function put(value, pointer, wanted) {
  const set = (container, [key, ...rest]) =>
    key === undefined ? wanted : { ...container, [key]: set(own(container, key), rest) };
  return set(value, keysOf(pointer));
}

/** Whether one of two JSON Pointers contains the other. */
export const touches = (a, b) => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
