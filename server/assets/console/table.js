// An answer that contains a list without pages, such as a bookable's availability by day.

import { html, nothing } from "./lit-html.js";
import { read } from "./api.js";
import { failure, value } from "./parts.js";
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
