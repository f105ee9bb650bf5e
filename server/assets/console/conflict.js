// What is to be decided in a version conflict, and what follows from the decisions.

import { at, diff, equal, put, touches } from "./patch.js";

/** Every path that one of the sides changed, with all three values. `base` and `mine` are the object as the form got
 * it and as it was meant to be. A row that asks has no choice until a person makes it: "mine" or "theirs". */
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

/** Whether every row is as the server's own merge has it. */
export const isPlainMerge = (conflict, rows) =>
  conflict.merge.verdict === "clean" && rows.every((row) => row.choice === (row.isMine ? "mine" : "theirs"));

/** The object as it should be: the current one, with mine where mine was chosen. */
export function resolved(current, rows) {
  const mine = rows.filter((row) => row.choice === "mine" && !equal(row.mine, row.theirs));
  return mine.reduce((object, row) => put(object, row.path, row.mine ?? null), current);
}

/** What has to be sent for that. */
export const patchOf = (current, rows) => diff(current, resolved(current, rows));

const VERDICTS = {
  clean: "You changed different fields. Both changes can be kept; nothing is lost either way.",
  identical: "What you asked for is already so. There is nothing left to save.",
  overlap: "You both changed the same field. Choose whose value stays; nothing is sent until you do.",
  group_overlap: "You changed different fields that only make sense together. Choose for each of them.",
  unknown_base: "What this object looked like when you opened it is not known any more. Compare with how it is now, and choose.",
};

export const verdictText = (verdict) => VERDICTS[verdict] ?? `The server's verdict is “${verdict}”. Choose for each field.`;
