// The decisions of a version conflict, and the object and patch that result from them.

import { at, diff, equal, put, touches } from "./patch.js";

/** A row for each path that either side changed, with all three values. `base` is the object that the form loaded and
 * `mine` the edited one. A row that asks has no choice until a person chooses "mine" or "theirs". */
export function rowsOf(conflict, base, mine) {
  const { changes, attempted, current, merge } = conflict;
  const theirs = new Map(changes.map((change) => [change.path, change]));
  const paths = [...new Set([...attempted, ...theirs.keys()])].sort();
  return paths.map((path) => {
    const change = theirs.get(path);
    const isMine = attempted.includes(path);
    const before = change ? change.base : at(base, path);
    const row = {
      path,
      change,
      isMine,
      base: before,
      theirs: change ? change.current : at(current, path),
      mine: isMine ? at(mine, path) : before,
    };
    const split = merge.groups_split.some((group) => group.some((member) => touches(member, path)));
    const overlaps = merge.overlap.some((member) => touches(member, path));
    const unknown = merge.verdict === "unknown_base" && isMine;
    row.asks = (split || overlaps || unknown) && !equal(row.mine, row.theirs);
    row.choice = row.asks ? null : isMine ? "mine" : "theirs";
    return row;
  });
}

export const isDecided = (rows) => rows.every((row) => row.choice !== null);

/** Whether the choices equal the server's merge. */
export const isPlainMerge = (conflict, rows) =>
  conflict.merge.verdict === "clean" && rows.every((row) => row.choice === (row.isMine ? "mine" : "theirs"));

/** The resolved object: the current one, with my values where mine was chosen. */
export function resolved(current, rows) {
  const mine = rows.filter((row) => row.choice === "mine" && !equal(row.mine, row.theirs));
  return mine.reduce((object, row) => put(object, row.path, row.mine ?? null), current);
}

/** The merge patch that makes the resolved object. */
export const patchOf = (current, rows) => diff(current, resolved(current, rows));

const VERDICTS = {
  clean: "You changed different fields. Both changes can be kept; nothing is lost either way.",
  identical: "The object already has your values. There is nothing to save.",
  overlap: "You both changed the same field. Choose which value to keep. Nothing is sent until you do.",
  group_overlap: "You changed different fields that belong together. Choose for each of them.",
  unknown_base: "The server no longer has the version that you opened. Compare your values with the current ones, and choose.",
};

export const verdictText = (verdict) => VERDICTS[verdict] ?? `The server's verdict is “${verdict}”. Choose for each field.`;
