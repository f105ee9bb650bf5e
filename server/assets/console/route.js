// Addresses. The part after # is the path of the API without /v1, so that both name things alike:
// #/plans?status=active lists, #/plans/pln_1 shows, #/plans/pln_1?view=edit edits.

/** "#/plans?status=active" → { path: "/plans", query: { status: "active" } } */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const trimmed = path.replace(/\/+$/, "");
  return { path: trimmed, query: Object.fromEntries(new URLSearchParams(search)) };
}

/** The address of a path with a query; empty and missing values are left out. */
export function hashOf(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(kept).toString();
  return `#${path}${search === "" ? "" : `?${search}`}`;
}

/** "/plans/pln_1/history" → "/plans/pln_1" */
export const parentOf = (path) => path.slice(0, path.lastIndexOf("/"));

/** "/plans/pln_1" → "pln_1", decoded. */
export const lastOf = (path) => decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
