// Answers that contain a list without pages, such as a bookable's availability by day, or a subscription's next invoices.

import { html, nothing } from "./lit-html.js";
import { read, send, write } from "./api.js";
import { failure, fieldsOf, value, when } from "./parts.js";
import { kindOf } from "./document.js";
import { label } from "./words.js";

const DAYS = 14;
const DAY_MS = 24 * 60 * 60 * 1000;

const dateIn = (days) => new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10);

export class TableView {
  constructor(page, { path, place }, name) {
    Object.assign(this, { page, path, place, name });
    this.query = Object.fromEntries(page.doc.filters(place).map((field) => [field.name, ""]));
    if ("from" in this.query && "to" in this.query) this.query = { from: dateIn(0), to: dateIn(DAYS - 1) };
    this.rows = page.doc.rowsOf(place);
  }

  async load() {
    this.error = undefined;
    try {
      const filled = Object.entries(this.query).filter(([, text]) => text !== "");
      const { body } = await read(this.path, Object.fromEntries(filled));
      this.items = body[this.rows.name];
    } catch (error) {
      this.error = error;
    }
  }

  template() {
    const { doc } = this.page;
    const apply = async (event) => {
      event.preventDefault();
      this.query = Object.fromEntries(new FormData(event.currentTarget));
      await this.load();
      this.page.changed();
    };
    const fields = doc.fields(this.rows.item);
    return html`<section class="card" aria-label=${label(this.name)}>
      <header class="head"><h2>${label(this.name)}</h2></header>
      <form class="filters" @submit=${apply}>
        ${doc.filters(this.place).map((field) => html`<label>${label(field.name)}
          <input name=${field.name} type=${field.format === "date" ? "date" : "text"} .value=${this.query[field.name]}></label>`)}
        <div class="apply"><button>Show</button></div>
      </form>
      ${failure(this.error)}
      ${this.items === undefined ? nothing : html`<div class="scroll" tabindex="0" role="region" aria-label="${label(this.name)}: table"><table class="list">
        <thead><tr>${fields.map((field) => html`<th scope="col" class=${field.type === "integer" ? "number" : ""}>${label(field.name)}</th>`)}</tr></thead>
        <tbody>${this.items.map((item) => html`<tr>${fields.map((field) => html`<td class=${field.type === "integer" ? "number" : ""}>${value(doc, field, item[field.name], item)}</td>`)}</tr>`)}</tbody>
      </table></div>`}
    </section>`;
  }
}

/** Names the instant until which a preview looks: the end of what runs. */
const UNTIL = "current_period_end";

/** What is going to be made for an object if nothing changes. The server is only asked; it writes nothing. */
export class PreviewView {
  constructor(page, place, above) {
    Object.assign(this, { page, place, above });
    this.rows = page.doc.answerFields(place.operations.post).find(({ items }) => items !== undefined);
    // Its object and that object's owner are on the page already. Each amount shows the currency.
    const told = page.doc.fields(this.rows.items).filter(({ name, of }) => of === undefined && name !== "currency");
    const rank = ({ format, isLarge }) => (format === "date-time" ? 0 : isLarge ? 1 : 2);
    this.fields = told.toSorted((a, b) => rank(a) - rank(b));
  }

  async load() {
    const { object, entity, clock } = this.above;
    // What is late is made by the next run.
    this.until = Date.parse(object[UNTIL]) > clock.serverTime ? object[UNTIL] : undefined;
    const body = { [`${kindOf(entity)}_id`]: object.id, ...(this.until === undefined ? {} : { as_of: this.until }) };
    try {
      const answer = await send(write("POST", this.place.path, { body }));
      Object.assign(this, { items: answer.body[this.rows.name], error: undefined });
    } catch (error) {
      this.error = error;
    }
  }

  template() {
    // A key of one workspace may not ask for it.
    if (this.error?.problem?.code === "FORBIDDEN") return nothing;
    const name = label(this.rows.name).toLowerCase();
    return html`<section class="card" aria-label="Next ${name}">
      <header class="head"><h2>Next ${name}</h2></header>
      ${failure(this.error)} ${this.items ? this.#preview() : this.error ? nothing : html`<p class="quiet">Loading…</p>`}
    </section>`;
  }

  #preview() {
    return html`<p class="quiet">What would be made ${this.until === undefined ? "now" : html`until ${when(this.until)}`} if nothing changes. This is only a preview; nothing is written.</p>
      ${this.items.length === 0 ? html`<p class="empty">Nothing would be made.</p>` : nothing}
      ${this.items.map((item) => html`<div class="next">${fieldsOf(this.page.doc, this.fields, item)}</div>`)}`;
  }
}
