// How things are said: names, instants, money, and what a refusal means for the person in front of the screen.

/** "cancel_at_period_end" → "Cancel at period end"; "/metadata/team" → "Metadata / team" */
export function label(name) {
  const text = name.replace(/^\//, "").replaceAll("/", " / ").replace(/[_-]/g, " ").replace(/\bid\b/g, "ID").replace(/\bapi\b/g, "API");
  return text.replace(/^./, (first) => first.toUpperCase());
}

const INSTANT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });

/** An instant of the API, to the second, in UTC as everything here. */
export function instant(text) {
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? text : `${INSTANT.format(when)} UTC`;
}

/** 1999 and "USD" → "USD 19.99", whatever the currency's minor unit is. */
export function money(amount, currency) {
  try {
    const format = new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" });
    return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits).replace("\u00a0", " ");
  } catch {
    return `${amount} ${currency}`;
  }
}

/** "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f" → "sub_…7c8d9e0f": ids of one day all begin alike. */
export const shortId = (text) => text.replace(/^([a-z]+_)[0-9a-f]{24}([0-9a-f]{8})$/, "$1…$2");

/** What people call an object. */
export const titleOf = (object) => object.name || object.code || object.number || object.feature || object.id || "";

export const byText = (by) => (by.on_behalf_of ? `${by.actor} for ${by.on_behalf_of}` : by.actor);

const seconds = (count) => (count === 1 ? "1 second" : `${count} seconds`);

/** What a refusal means and what to do about it. The server's own words are shown beside it. */
export function explain(status, problem, retryAfter) {
  const wait = retryAfter ? ` Try again in ${seconds(Number(retryAfter))}.` : " Try again in a moment.";
  switch (problem.code) {
    case "UNAUTHENTICATED":
      return "The server does not accept this API key. It may be mistyped, expired or revoked.";
    case "FORBIDDEN":
      return "Your API key's role does not allow this. Ask an admin for a key with the role it needs.";
    case "FORCE_FORBIDDEN":
      return "Only admins may force a write. This attempt was recorded in the audit log.";
    case "NOT_FOUND":
      return "There is nothing here. The ID may be mistyped.";
    case "DELETED":
      return `It was deleted by ${problem.deleted_by ?? "somebody"} on ${instant(problem.deleted_at ?? "")}. Its history is still there.`;
    case "VALIDATION_FAILED":
      return "Some fields are wrong; each of them says why. Nothing was saved.";
    case "VERSION_PRUNED":
      return "This old version is not kept any more.";
    case "RATE_LIMITED":
      return `Too many requests with this key; nothing was written.${wait}`;
    case "TRY_AGAIN":
      return `The server is busy or cannot reach its database; nothing was written.${wait}`;
    case "INTERNAL":
      return "The server failed in a way nobody foresaw. Its log knows the request by its ID.";
    default:
      return status >= 500 ? "The server could not answer." : "Nothing was saved.";
  }
}

/** What the server noted about a write that succeeded. */
export function notes(headers) {
  const said = [];
  if (headers.get("X-Changed") === "false") said.push("Nothing changed: it already was as you asked.");
  if (headers.has("X-Merged-From")) said.push(`Merged with what others changed since version ${headers.get("X-Merged-From")}.`);
  if (headers.has("X-Overwrote")) said.push(`This replaced what somebody else had changed: ${headers.get("X-Overwrote")}.`);
  if (headers.get("X-Forced") === "true") said.push("Forced. The reason and what was overwritten are in the audit log.");
  if (headers.get("Idempotency-Replayed") === "true") said.push("The first send had arrived; it was not applied twice.");
  return said;
}
