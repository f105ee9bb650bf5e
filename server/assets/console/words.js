// Texts for people: names, instants, money, and the meaning of refusals.

/** "cancel_at_period_end" → "Cancel at period end"; "/metadata/team" → "Metadata / team" */
export function label(name) {
  const text = name.replace(/^\//, "").replaceAll("/", " / ").replace(/[_-]/g, " ").replace(/\bid\b/g, "ID").replace(/\bapi\b/g, "API")
    .replace(/\bttl remaining ms$/, "time left").replace(/ ms$/, " (ms)");
  return text.replace(/^./, (first) => first.toUpperCase());
}

const INSTANT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });

/** An instant of the API, to the second, in UTC like all instants here. */
export function instant(text) {
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? text : `${INSTANT.format(when)} UTC`;
}

/** 1999 and "USD" → "USD 19.99", whatever the currency's minor unit is. */
export function money(amount, currency) {
  try {
    const format = new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" });
    const digits = format.resolvedOptions().maximumFractionDigits;
    // A text of digits is formatted without rounding.
    const units = typeof amount === "bigint" ? `${amount}e-${digits}` : amount / 10 ** digits;
    return format.format(units).replace("\u00a0", " ");
  } catch {
    return `${amount} ${currency}`;
  }
}

/** 3723000 → "1 h 2 min 3 s"; 183900000 → "2 d 3 h 5 min" */
export function duration(ms) {
  const total = Math.ceil(ms / 1000);
  const parts = [`${Math.floor(total / 86400)} d`, `${Math.floor(total / 3600) % 24} h`, `${Math.floor(total / 60) % 60} min`, `${total % 60} s`];
  const first = total >= 86400 ? 0 : total >= 3600 ? 1 : total >= 60 ? 2 : 3;
  return parts.slice(first, first + 3).join(" ");
}

/** "Void a reservation: make its credits available" → ["Void a reservation", "Make its credits available."] */
export function splitSummary(summary) {
  const [name, meaning] = summary.split(/: (.*)/s);
  return [name, meaning === undefined ? undefined : `${meaning.replace(/^./, (first) => first.toUpperCase())}.`];
}

/** "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f" → "sub_…7c8d9e0f". Ids of one day have the same beginning. */
export const shortId = (text) => text.replace(/^([a-z]+_)[0-9a-f]{24}([0-9a-f]{8})$/, "$1…$2");

/** The title of an object. */
export const titleOf = (object) => object.name || object.code || object.number || object.feature || object.key || object.id || "";

export const byText = (by) => (by.on_behalf_of ? `${by.actor} for ${by.on_behalf_of}` : by.actor);

const seconds = (count) => (count === 1 ? "1 second" : `${count} seconds`);

/** The meaning of a refusal and what to do about it. The server's own text is shown beside it. */
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
      return "No such object. The ID may be mistyped.";
    case "LOCK_NOT_FOUND":
      return "Nobody holds it any more. Nothing was changed.";
    case "DELETED":
      return `It was deleted by ${problem.deleted_by ?? "somebody"} on ${instant(problem.deleted_at ?? "")}. Its history is kept.`;
    case "VALIDATION_FAILED":
      return "Some fields are wrong; each shows the reason. Nothing was saved.";
    case "INSUFFICIENT_CREDITS":
      return "What is reserved cannot be spent either. No credits were moved.";
    case "INSUFFICIENT_BALANCE":
      return "A balance cannot go below zero. Nothing was moved.";
    case "EXCEEDS_RESERVATION":
      return "Nothing was charged.";
    case "RESERVATION_OWNED":
      return "It belongs to a server and is resolved once that server's fate is known. Nothing was changed.";
    case "PANEL_NOT_CONFIGURED":
      return "This server is not connected to a panel, so nothing was ordered.";
    case "INVALID_STATE_TRANSITION":
      return "Its status does not allow this. Nothing was changed.";
    case "RESERVATION_ALREADY_POSTED":
    case "RESERVATION_ALREADY_VOIDED":
      return "A reservation is resolved only once. Nothing was changed.";
    case "VERSION_PRUNED":
      return "This old version is no longer kept.";
    case "RATE_LIMITED":
      return `Too many requests with this key; nothing was written.${wait}`;
    case "TRY_AGAIN":
      return `The server is busy or cannot reach its database; nothing was written.${wait}`;
    case "INTERNAL":
      return "The server failed unexpectedly. Its log has the details under the request's ID.";
    default:
      return status >= 500 ? "The server could not answer." : "Nothing was saved.";
  }
}

/** The server's notes about a successful write. */
export function notes(headers) {
  const said = [];
  if (headers.get("X-Changed") === "false") said.push("Nothing changed: the object already had these values.");
  if (headers.has("X-Merged-From")) said.push(`Merged with what others changed since version ${headers.get("X-Merged-From")}.`);
  if (headers.has("X-Overwrote")) said.push(`This replaced changes by others: ${headers.get("X-Overwrote")}.`);
  if (headers.get("X-Forced") === "true") said.push("Forced. The reason and what was overwritten are in the audit log.");
  if (headers.get("Idempotency-Replayed") === "true") said.push("The first send had already been applied; nothing was applied twice.");
  return said;
}
