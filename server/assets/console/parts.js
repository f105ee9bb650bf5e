// Small pieces that several views share.

import { html, nothing } from "./lit-html.js";
import { byText, duration, explain, instant, label, money, shortId, splitSummary } from "./words.js";
import { hashOf, lastOf } from "./route.js";
import { NoAnswer } from "./api.js";
import { stringify } from "./exact.js";

const GOOD = ["active", "paid", "open", "confirmed", "completed", "in_use", "created", "found", "done", "in_sync"];
const BAD = ["past_due", "canceled", "cancelled", "void", "voided", "uncollectible", "no_show", "deleted", "forced", "expired", "failed", "force_denied", "reversed",
  "taken", "refused", "unauthorized", "mismatch", "orphan"];
/** What is not over yet, or not known. */
const OPEN = ["provisioning", "deprovisioning", "pending_reconciliation", "pending", "throttled", "not_connected", "unclear", "lost", "in_doubt"];

/** A word of an enumeration, such as a status. */
export function badge(text) {
  const tone = GOOD.includes(text) ? "good" : BAD.includes(text) ? "bad" : OPEN.includes(text) ? "open" : "plain";
  return html`<span class="badge ${tone}">${String(text).replaceAll("_", " ")}</span>`;
}

export const when = (text) => html`<time datetime=${text} title=${text}>${instant(text)}</time>`;

/** A value for people. `field` is its description in the document, `object` is the object that contains it. `isShort` is
 * for the rows of a table, which have little room. */
export function value(doc, field, found, object = {}, isShort = false) {
  if (found === null || found === undefined || found === "") return html`<span class="none" title="not set">–</span>`;
  if (typeof found === "boolean") return found ? "Yes" : "No";
  if (field?.format === "date-time" && typeof found === "string") return when(found);
  if (field?.isMoney && typeof object.currency === "string") return html`<span class="number">${money(found, object.currency)}</span>`;
  if (field?.isTimeLeft) return found === 0 ? html`<span class="none" title="none">–</span>` : html`<span class="number">${duration(found)}</span>`;
  if (field?.isAge) return html`<time class="number" datetime=${object.created_at} title=${instant(object.created_at)}>${duration(found)}</time>`;
  if (field?.enum) return badge(found);
  if (field?.isNumericId) return html`<span class="number">${String(found)}</span>`;
  if (["number", "bigint"].includes(typeof found)) return html`<span class="number">${found.toLocaleString("en")}</span>`;
  if (typeof found === "string") return text(doc, found, isShort, pathOfField(doc, field, found));
  if ("actor" in found) return byText(found);
  if (typeof found.type === "string" && typeof found.id === "string") return resource(doc, found);
  const size = Object.keys(found).length;
  if (size === 0) return html`<span class="none">none</span>`;
  const whole = large(doc, field, found, object);
  return isShort ? html`<details><summary>${size}</summary>${whole}</details>` : whole;
}

/** A list or a map. */
function large(doc, field, found, object) {
  if (Array.isArray(found) && found.every((item) => "path" in Object(item) && "from" in Object(item))) return differences(found);
  if (Array.isArray(found) && field?.items) {
    // A column without any value tells nothing.
    const columns = doc.fields(field.items).filter(({ name }) => found.some((item) => (item[name] ?? "") !== ""));
    return html`<table class="inner"><thead><tr>${columns.map((column) => html`<th scope="col" class=${column.type === "integer" ? "number" : ""}>${label(column.name)}</th>`)}</tr></thead>
      <tbody>${found.map((item) => html`<tr>${columns.map((column) => html`<td data-field=${column.name} class=${column.type === "integer" ? "number" : ""}>${value(doc, column, item[column.name], { currency: object.currency, ...item })}</td>`)}</tr>`)}</tbody></table>`;
  }
  if (field?.members && doc.fields(field.members).length > 0) {
    const members = doc.fields(field.members).filter(({ name }) => name in found);
    return html`<table class="inner"><tbody>${members.map((member) => html`<tr><th scope="row">${label(member.name)}</th><td>${value(doc, member, found[member.name], found)}</td></tr>`)}</tbody></table>`;
  }
  if (Array.isArray(found) && found.every((member) => typeof member !== "object")) return html`<span class="text">${found.join(", ")}</span>`;
  if (!Array.isArray(found) && Object.values(found).every((member) => typeof member === "string")) {
    return html`<table class="inner"><tbody>${Object.entries(found).map(([name, member]) => html`<tr><th scope="row">${name}</th><td>${text(doc, member)}</td></tr>`)}</tbody></table>`;
  }
  return html`<pre>${stringify(found, 2)}</pre>`;
}

/** The page that a field names, such as /reservations/trf_1 for reservation_id; undefined if there is none. */
function pathOfField(doc, field, id) {
  if (!field?.name.endsWith("_id")) return undefined;
  const path = `/${field.name.replace(/_id$/, "s")}/${encodeURIComponent(id)}`;
  const place = doc.place(path);
  return place && doc.shapeOf(place) === "object" && doc.hasPage(place) ? path : undefined;
}

/** A text; an object's id becomes a link to it. */
export function text(doc, found, isShort = false, path = doc.pathOfId(found)) {
  const shown = isShort ? shortId(found) : found;
  return path === undefined
    ? html`<span class="text" title=${shown === found ? nothing : found}>${shown}</span>`
    : html`<a class="id" href=${hashOf(path)} title=${shown === found ? nothing : found}>${shown}</a>`;
}

export function resource(doc, { type, id }) {
  const path = doc.collectionOfKind(type);
  const name = `${label(type)} ${id}`;
  return path === undefined ? html`<span class="text">${name}</span>` : html`<a class="id" href=${hashOf(`${path}/${id}`)}>${name}</a>`;
}

/** A value in a comparison: short and exact. */
export function raw(found) {
  if (found === null || found === undefined) return html`<span class="none">not set</span>`;
  if (found === "") return html`<span class="none">empty</span>`;
  if (typeof found === "object") return html`<pre>${stringify(found, 2)}</pre>`;
  return html`<span class="text">${String(found)}</span>`;
}

/** [{ path, from, to }] as a table. */
export function differences(changes) {
  return html`<table class="differences">
    <thead><tr><th scope="col">Field</th><th scope="col">From</th><th scope="col">To</th></tr></thead>
    <tbody>${changes.map(({ path, from, to }) => html`<tr>
      <th scope="row">${label(path)}</th>
      <td data-label="From" class="from">${raw(from)}</td>
      <td data-label="To" class="to">${raw(to)}</td>
    </tr>`)}</tbody>
  </table>`;
}

/** An error: what it means, the server's own text, and the request's id for the log. */
export function failure(error) {
  if (!error) return nothing;
  if (error instanceof NoAnswer) {
    return html`<div class="notice bad" role="alert"><p><strong>The server did not answer.</strong> ${error.message}</p></div>`;
  }
  const { status, problem, headers } = error;
  if (problem === undefined) throw error;
  return html`<div class="notice bad" role="alert" data-code=${problem.code ?? status}>
    <p><strong>${problem.title ?? `Status ${status}`}.</strong> ${explain(status, problem, headers.get("Retry-After"))}</p>
    ${problem.errors?.length ? nothing : html`<p class="detail">${problem.detail}</p>`}
    ${problem.errors?.length ? html`<ul>${problem.errors.map(({ path, message }) => html`<li><strong>${label(path)}</strong> ${message}</li>`)}</ul>` : nothing}
    ${problem.request_id ? html`<p class="detail">Request ID <code>${problem.request_id}</code></p>` : nothing}
  </div>`;
}

/** What the server noted about a write. */
export const notice = (lines) =>
  lines?.length ? html`<div class="notice good" role="status">${lines.map((line) => html`<p>${line}</p>`)}</div>` : nothing;

/** Whether a view that reads again by itself is current. */
export const pollState = (error) => html`<span class="state ${error ? "waiting" : "live"}" role="status">${error ? "Connection lost; trying again…" : "Live"}</span>`;

/** A refusal because of a newer version: what changed, and that `what` did not happen. */
export const changedMeanwhile = ({ current_version: version, changes }, what) => html`<div class="notice bad" role="alert">
  <p><strong>It was changed in the meantime</strong> and is now at version ${version}. ${what} Look at the changes before you go on.</p>
  ${differences(changes.map(({ path, base, current }) => ({ path, from: base, to: current })))}
  <p class="detail">${[...new Set(changes.map(({ by, at }) => `${byText(by)}, ${instant(at)}`))].join("; ")}</p>
</div>`;

/** A notice that the object on the screen was changed. */
export function news(event, more) {
  return html`<div class="notice news" role="status">
    <p>${event.kind === "deleted" ? "Deleted" : `Changed to version ${event.version}`} by ${byText(event.by)}. ${more}</p>
  </div>`;
}

/** Links to the forms of an object's actions that its status allows and that the session's key may use. */
export const actionLinks = (page, place, path, entity, object) => page.doc.actionsNow(place, entity, object).filter(({ operations }) => page.may(operations.post))
  .map((action) => html`<a class="button" href=${hashOf(`${path}/${lastOf(action.path)}`, { view: "new" })}>${splitSummary(action.operations.post.summary)[0]}</a>`);

/** The fields of an object. What is only a list, such as a balance, needs no label. */
export const fieldsOf = (doc, fields, object) => (fields.length === 1 && fields[0].items
  ? html`<div data-field=${fields[0].name}>${value(doc, fields[0], object[fields[0].name], object)}</div>`
  : html`<dl class="fields">${fields.map((field) => html`
  <div><dt>${label(field.name)}</dt><dd data-field=${field.name}>${value(doc, field, object[field.name], object)}</dd></div>`)}</dl>`);
