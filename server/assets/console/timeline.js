// What happened to an object that workers go on with, such as a server: each step, oldest first, with more on demand.
// `refresh` reads what was added since; entries never change.

import { html, nothing } from "./lit-html.js";
import { read } from "./api.js";
import { failure, value } from "./parts.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { label } from "./words.js";

const PAGE = 50;
/** The columns in the order of reading. Others follow. */
const ORDER = ["at", "step", "call", "observation", "verdict", "detail", "status", "generation", "by"];
/** The number of an entry names its row. */
const NUMBER = "seq";

export class TimelineView {
  /** What was read: each page's cursor and entries. */
  #pages = [];

  constructor(page, { path, place }, inside) {
    Object.assign(this, { page, path, place, inside });
    const fields = page.doc.fields(page.doc.itemOf(place));
    const rank = ({ name }) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    this.columns = fields.filter(({ name }) => name !== NUMBER).sort((a, b) => rank(a) - rank(b));
    this.title = label(inside ?? lastOf(place.path));
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
    const { body } = await read(this.path, { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    this.#pages = [...this.#pages.slice(0, number), { cursor, items: body.items }];
    this.next = body.next_cursor ?? undefined;
  }

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
    const { doc } = this.page;
    const entries = this.#pages.flatMap(({ items }) => items);
    const isNumber = ({ type }) => (type === "integer" ? "number" : "");
    return html`<div class="scroll" tabindex="0" role="region" aria-label="${this.title}: table"><table class="list timeline">
      <thead><tr>${this.columns.map((field) => html`<th scope="col" class=${isNumber(field)}>${field.name === "at" ? "Time" : label(field.name)}</th>`)}</tr></thead>
      <tbody>${entries.map((entry) => html`<tr data-entry=${entry[NUMBER]}>
        ${this.columns.map((field) => html`<td data-field=${field.name} class=${isNumber(field)}>${value(doc, field, entry[field.name], entry)}</td>`)}
      </tr>`)}</tbody>
    </table></div>
    ${this.next === undefined ? nothing : html`<div class="pages"><button name="more" ?disabled=${this.isReading} @click=${() => this.#more()}>Show more</button></div>`}`;
  }
}
