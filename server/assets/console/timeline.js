// What happened to an object, with more on demand: the steps of what workers go on with, such as a server, oldest first;
// and the periods of a subscription, newest first.

import { html, nothing } from "./lit-html.js";
import { read } from "./api.js";
import { failure, value } from "./parts.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { integer } from "./exact.js";
import { label, titleOf } from "./words.js";

const PAGE = 50;
const PAGE_OF_PERIODS = 12;
/** The columns in the order of reading. Others follow. */
const ORDER = ["at", "step", "call", "observation", "verdict", "detail", "status", "generation", "by"];
/** The number of an entry names its row. */
const NUMBER = "seq";

/** Entries never change. `refresh` reads what was added since. */
export class TimelineView {
  /** What was read: each page's cursor and entries. */
  #pages = [];

  constructor(page, { path, place }, inside) {
    Object.assign(this, { page, path, place, inside });
    const fields = page.doc.fields(page.doc.itemOf(place));
    const rank = ({ name }) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    this.columns = fields.filter(({ name }) => name !== NUMBER).sort((a, b) => rank(a) - rank(b));
    this.title = label(inside ?? lastOf(place.path));
    this.size = PAGE;
  }

  async load() {
    try {
      await this.#read(0);
      this.error = undefined;
    } catch (error) {
      this.error = error;
    }
  }

  /** Reads the last page again. Goes on to the next one only if everything was shown before. */
  async refresh() {
    if (this.#pages.length === 0) return this.#read(0);
    const wasWhole = this.next === undefined;
    await this.#read(this.#pages.length - 1);
    while (wasWhole && this.next !== undefined) await this.#read(this.#pages.length);
  }

  /** Reads the page of this number: one that is shown, or the next one. */
  async #read(number) {
    const cursor = number < this.#pages.length ? this.#pages[number].cursor : this.next;
    const { body } = await read(this.path, { limit: this.size, ...(cursor === undefined ? {} : { cursor }) });
    await this.lookUp(body.items);
    this.#pages = [...this.#pages.slice(0, number), { cursor, items: body.items }];
    this.next = body.next_cursor ?? undefined;
  }

  /** Reads what entries refer to. */
  async lookUp() {}

  async #more() {
    this.isReading = true;
    this.page.changed();
    try {
      await this.#read(this.#pages.length);
      this.error = undefined;
    } catch (error) {
      this.error = error;
    }
    this.isReading = false;
    this.page.changed();
  }

  template() {
    const heading = this.inside
      ? html`<h2>${this.title}</h2>`
      : html`<h1 tabindex="-1">${this.title}</h1>`;
    return html`<section aria-label=${this.title} class=${this.inside ? "card" : ""}>
      ${this.inside ? nothing : html`<p class="kind"><a href=${hashOf(parentOf(this.path))}>Back</a></p>`}
      <header class="head">${heading}</header>
      ${failure(this.error)}
      ${this.#pages.length ? this.#table() : this.error ? nothing : html`<p class="quiet">Loading…</p>`}
    </section>`;
  }

  #table() {
    const entries = this.#pages.flatMap(({ items }) => items);
    if (entries.length === 0) return html`<p class="empty">There is nothing here yet.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="${this.title}: table"><table class="list timeline">
      <thead><tr>${this.columns.map((field) => html`<th scope="col" class=${sideOf(field)}>${this.heading(field)}</th>`)}</tr></thead>
      <tbody>${entries.map((entry) => this.row(entry))}</tbody>
    </table></div>
    ${this.next === undefined ? nothing : html`<div class="pages"><button name="more" ?disabled=${this.isReading} @click=${() => this.#more()}>Show more</button></div>`}`;
  }

  heading({ name }) {
    return name === "at" ? "Time" : label(name);
  }

  row(entry) {
    return html`<tr data-entry=${entry[NUMBER]}>
      ${this.columns.map((field) => html`<td data-field=${field.name} class=${sideOf(field)}>${value(this.page.doc, field, entry[field.name], entry)}</td>`)}
    </tr>`;
  }
}

/** Periods with the terms that took effect within them. A period of the same terms from start to end is one row; another
 * has a row for each of its terms below it. Where charges differ from costs, a mark tells by how much. */
export class PeriodsView extends TimelineView {
  /** What the terms refer to, by ID: plans, for their names and their currency. */
  #known = new Map();

  constructor(page, route, inside) {
    super(page, route, inside);
    const { doc } = page;
    this.parts = doc.partsOf(route.place);
    const whole = doc.fields(doc.itemOf(route.place)).filter(({ name }) => name !== this.parts.name);
    const terms = doc.fields(this.parts.items);
    const isOf = (fields) => ({ name }) => fields.some((field) => field.name === name);
    const isInstant = ({ format }) => format === "date-time";
    this.shared = terms.filter(isOf(whole)).map(({ name }) => name);
    this.references = terms.filter(({ of }) => of !== undefined).map(({ name }) => name);
    this.columns = [...whole.filter(isInstant), ...terms.filter((field) => !isOf(whole)(field)), ...whole.filter((field) => !isInstant(field))];
    if (whole.some(({ name }) => name === "cost") && whole.some(({ name }) => name === "charged")) this.columns.push(DIFFERENCE);
    this.size = PAGE_OF_PERIODS;
  }

  async lookUp(periods) {
    const ids = new Set(periods.flatMap((period) => this.#partsOf(period)).flatMap((part) => this.references.map((name) => part[name])));
    await Promise.all([...ids].filter((id) => !this.#known.has(id)).map((id) => this.#look(id)));
  }

  /** Without an answer, the ID and numbers without a currency are shown. */
  async #look(id) {
    const found = await read(this.page.doc.pathOfId(id)).catch(() => undefined);
    if (found !== undefined) this.#known.set(id, found.body);
  }

  #partsOf(period) {
    return period[this.parts.name];
  }

  heading(field) {
    return label(field.of === undefined ? field.name : field.name.replace(/_id$/, ""));
  }

  row(period) {
    const parts = this.#partsOf(period);
    const known = parts.flatMap((part) => this.references.map((name) => this.#known.get(part[name])));
    const currency = known.find((object) => object?.currency !== undefined)?.currency;
    const isOne = parts.length === 1 && this.shared.every((name) => parts[0][name] === period[name]);
    const whole = { currency, ...(isOne ? parts[0] : {}), ...period };
    const rest = isOne ? [] : parts.map((part, n) => ({ currency, ...part, end: parts[n + 1]?.start ?? period.end }));
    return [html`<tr data-start=${period.start}>${this.columns.map((field) => this.#cell(field, whole))}</tr>`,
      ...rest.map((part) => html`<tr class="part">${this.columns.map((field) => this.#cell(field, part))}</tr>`)];
  }

  #cell(field, object) {
    return html`<td data-field=${field.name} class=${sideOf(field)}>${this.#content(field, object)}</td>`;
  }

  #content(field, object) {
    const { doc } = this.page;
    if (field === DIFFERENCE) return "charged" in object ? difference(doc, object) : nothing;
    const found = object[field.name];
    if (found === undefined) return nothing;
    const known = this.#known.get(found);
    return known ? html`<a class="id" href=${hashOf(doc.pathOfId(found))} title=${found}>${titleOf(known)}</a>` : value(doc, field, found, object, true);
  }
}

const DIFFERENCE = { name: "difference", type: "integer" };

/** What is still to be charged or given back. */
function difference(doc, { cost, charged, currency }) {
  const due = BigInt(cost) - BigInt(charged);
  const amount = integer(String(due < 0n ? -due : due));
  if (due === 0n) return html`<span class="none" title="none">–</span>`;
  return html`<span class="badge open">${value(doc, { isMoney: true }, amount, { currency })} ${due > 0n ? "to charge" : "to give back"}</span>`;
}

/** Numbers stand on the right. */
const sideOf = ({ type }) => (type === "integer" ? "number" : "");
