// A list with filters, sort order and pages. With `inside` it is shown below an object.

import { html, nothing } from "./lit-html.js";
import { read, send, write } from "./api.js";
import { hashOf } from "./route.js";
import { failure, notice, value } from "./parts.js";
import { label, shortId, titleOf } from "./words.js";
import { kindOf } from "./document.js";

const COLUMNS_MAX = 7;
/** Fields that are left out of rows: they say little, or are the title. */
const LEFT_OUT = ["id", "name", "created_at", "updated_by", "scope", "charged_scope", "as_of", "request_id"];
const PAGE = 50;
const PAGE_INSIDE = 10;

export class ListView {
  constructor(page, { path, place, query }, inside) {
    Object.assign(this, { page, path, place, query, inside });
    const { doc } = page;
    this.filters = doc.filters(place);
    this.sorts = doc.sorts(place);
    this.item = doc.itemPlace(place);
    this.canOpen = this.item?.operations.get !== undefined;
    this.columns = columnsOf(doc.fields(doc.itemOf(place)), this.canOpen);
    this.title = inside ?? doc.tops().find((top) => top.place === place)?.title ?? label(place.path.split("/").pop());
  }

  async load() {
    const query = Object.fromEntries(Object.entries(this.query).filter(([name]) => name !== "back"));
    try {
      const { body } = await read(this.path, { limit: this.inside ? PAGE_INSIDE : PAGE, ...query, ...(this.inside ? {} : this.#order()) });
      this.items = body.items;
      this.next = body.next_cursor;
    } catch (error) {
      this.error = error;
    }
  }

  /** Newest first where possible, because people mostly look for recent items. */
  #order() {
    return this.sorts.includes("-created_at") ? { sort: this.query.sort ?? "-created_at" } : {};
  }

  template() {
    const { place, path, inside } = this;
    const heading = inside
      ? html`<h2 id="list-${inside}">${label(inside)}</h2>`
      : html`<h1 tabindex="-1">${this.title}</h1>`;
    const create = place.operations.post;
    return html`<section aria-label=${label(this.title)} class=${inside ? "card" : ""}>
      <header class="head">${heading}
        ${create ? html`<a class="button ${inside ? "" : "primary"}" href=${hashOf(path, { view: "new" })}>${inside ? create.summary : "New"}</a>` : nothing}
      </header>
      ${!inside && (this.filters.length || this.sorts.length) ? this.#filterForm() : nothing}
      ${failure(this.error)} ${notice(this.done)}
      ${this.items === undefined ? (this.error ? nothing : html`<p class="quiet">Loading…</p>`) : this.#table()}
    </section>`;
  }

  #filterForm() {
    const apply = (event) => {
      event.preventDefault();
      this.page.go(hashOf(this.path, Object.fromEntries(new FormData(event.currentTarget))));
    };
    const change = (event) => event.currentTarget.form.requestSubmit();
    const sort = this.#order().sort ?? this.query.sort;
    return html`<form class="filters" @submit=${apply} aria-label="Filters">
      ${this.filters.map((field) => html`<label>${label(field.name)}
        ${field.enum || field.type === "boolean"
          ? html`<select name=${field.name} @change=${change}><option value="">Any</option>
              ${(field.enum ?? ["true", "false"]).map((option) => html`<option value=${option} .selected=${this.query[field.name] === option}>${option.replaceAll("_", " ")}</option>`)}</select>`
          : html`<input name=${field.name} type=${field.format === "date" ? "date" : "text"} .value=${this.query[field.name] ?? ""} autocomplete="off">`}
      </label>`)}
      ${this.sorts.length ? html`<label>Order
        <select name="sort" @change=${change}>${this.sorts.map((option) => html`<option value=${option} .selected=${sort === option}>${orderText(option)}</option>`)}</select>
      </label>` : nothing}
      <div class="apply"><button>Apply</button><a class="button" href=${hashOf(this.path)}>Clear</a></div>
    </form>`;
  }

  #table() {
    if (this.items.length === 0) {
      const filtered = Object.keys(this.query).length > 0;
      return html`<p class="empty">${filtered ? "No matches." : "There is nothing here yet."}</p>`;
    }
    const { doc } = this.page;
    const actions = this.#rowActions();
    return html`<div class="scroll" tabindex="0" role="region" aria-label="${label(this.title)}: table"><table class="list">
      <thead><tr>
        ${this.canOpen ? html`<th scope="col">${label(kindOf(doc.itemOf(this.place)))}</th>` : nothing}
        ${this.columns.map((field) => html`<th scope="col" class=${field.type === "integer" ? "number" : ""}>${label(field.name)}</th>`)}
        ${actions.length ? html`<th scope="col"><span class="hidden">Actions</span></th>` : nothing}
      </tr></thead>
      <tbody>${this.items.map((item) => html`<tr>
        ${this.canOpen ? html`<th scope="row"><a href=${this.#addressOf(item)} title=${titleOf(item)}>${shortId(titleOf(item))}</a></th>` : nothing}
        ${this.columns.map((field) => html`<td class=${field.type === "integer" ? "number" : ""}>${value(doc, field, item[field.name], item, true)}</td>`)}
        ${actions.length ? html`<td class="actions">${actions.map((action) => action(item))}</td>` : nothing}
      </tr>`)}</tbody>
    </table></div>
    ${this.#pages()}`;
  }

  #addressOf(item) {
    const key = item.id ?? item.feature;
    return hashOf(`${this.path}/${encodeURIComponent(key)}`);
  }

  /** The actions on an item, shown beside it or in place of its page. */
  #rowActions() {
    const { doc } = this.page;
    if (this.item === undefined) return [];
    const actions = doc.actionsOf(this.item).map(({ path, operations }) => (item) =>
      html`<a class="button small" href=${hashOf(`${this.path}/${item.id}/${path.split("/").pop()}`, { view: "new" })}>${operations.post.summary}</a>`);
    const { get, delete: remove } = this.item.operations;
    if (remove && !get) {
      actions.push((item) => (item.revoked_at ? nothing : html`<button class="small danger" @click=${() => this.#remove(item, remove.summary)}>${remove.summary}</button>`));
    }
    return actions;
  }

  async #remove(item, summary) {
    if (!window.confirm(`${summary}: ${titleOf(item)} (${item.id})?\n\nThis cannot be undone.`)) return;
    this.error = undefined;
    try {
      await send(write("DELETE", `${this.path}/${item.id}`));
      this.done = [`${summary}: ${titleOf(item)}. Done.`];
      await this.load();
    } catch (error) {
      this.error = error;
    }
    this.page.changed();
  }

  #pages() {
    if (this.inside) {
      return this.next ? html`<p><a href=${hashOf(this.path)}>All ${label(this.inside).toLowerCase()}</a></p>` : nothing;
    }
    const { cursor, ...rest } = this.query;
    if (!cursor && !this.next) return nothing;
    return html`<nav class="pages" aria-label="Pages">
      ${cursor ? html`<a class="button" href=${hashOf(this.path, rest)}>First page</a>` : nothing}
      ${this.next ? html`<a class="button" rel="next" href=${hashOf(this.path, { ...rest, cursor: this.next })}>Next page</a>` : nothing}
    </nav>`;
  }
}

const orderText = (sort) => (sort.startsWith("-") ? `${label(sort.slice(1))}, descending` : `${label(sort)}, ascending`);

/** The columns that fit in a row: short values, the most useful first. An item's page shows the others. */
function columnsOf(fields, canOpen) {
  if (!canOpen) {
    const told = fields.filter(({ name }) => name !== "id" && name !== "request_id");
    return [...told, ...fields.filter(({ name }) => name === "request_id")];
  }
  const short = fields.filter((field) => !field.isLarge && !LEFT_OUT.includes(field.name));
  const status = short.filter(({ name }) => name === "status");
  const last = short.filter(({ name }) => ["version", "updated_at"].includes(name));
  const rest = short.filter((field) => !status.includes(field) && !last.includes(field));
  return [...status, ...rest.slice(0, COLUMNS_MAX - status.length - last.length), ...last];
}
