// A list with filters, sort order and pages. With `inside` it is shown below an object.

import { html, nothing } from "./lit-html.js";
import { read, send, write } from "./api.js";
import { Poll } from "./poll.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { failure, notice, pollState, value } from "./parts.js";
import { label, shortId, splitSummary, titleOf } from "./words.js";
import { kindOf } from "./document.js";

const COLUMNS_MAX = 7;
/** Fields that are left out of rows: they say little, or are the title. */
const LEFT_OUT = ["id", "name", "created_at", "updated_by", "scope", "charged_scope", "as_of", "request_id"];
const OPTIONS = { true: "Yes", false: "No" };
const PAGE = 50;
const PAGE_INSIDE = 10;

export class ListView {
  constructor(page, { path, place, query }, inside) {
    Object.assign(this, { page, path, place, query, inside });
    const { doc } = page;
    this.filters = doc.filters(place);
    this.sorts = doc.sorts(place);
    this.item = doc.itemPlace(place);
    this.entity = doc.itemOf(place);
    this.canOpen = doc.hasPage(this.item);
    // The address tells what the list is below. So does a filter, for a list of what refers to an object.
    const isAbove = ({ name, of }) => of !== undefined && (place.path.startsWith(`${doc.collectionOfKind(kindOf(of))}/`) || (inside !== undefined && name in query));
    this.columns = columnsOf(doc.agedFields(this.entity).filter((field) => !isAbove(field)), this.canOpen, this.item === undefined ? [] : doc.namesOf(this.item));
    // Below an object, people look for what is still pending.
    this.waiting = inside && doc.canPend(this.entity) && this.filters.some(({ name }) => name === "status");
    if (this.waiting) this.query = { ...query, status: "pending" };
    // No event tells that time passes. Inside an object, the object's page reads again.
    this.isLive = doc.timesLeft(this.entity).length > 0 || doc.canPend(this.entity) || doc.isWorkedOn(this.entity);
    if (!inside && this.isLive) this.poll = new Poll(() => this.refresh(), page.changed);
    this.title = inside ?? doc.tops().find((top) => top.place === place)?.title ?? label(place.path.split("/").pop());
  }

  async load() {
    try {
      await this.#read();
    } catch (error) {
      this.error = error;
    }
  }

  close() {
    this.poll?.close();
  }

  async #read() {
    const query = Object.fromEntries(Object.entries(this.query).filter(([name]) => name !== "back"));
    const { body, clock } = await read(this.path, { limit: this.inside ? PAGE_INSIDE : PAGE, ...query, ...(this.inside ? {} : this.#order()) });
    this.items = body.items;
    this.next = body.next_cursor;
    this.clock = clock;
  }

  async refresh() {
    try {
      await this.#read();
      this.error = this.stale = undefined;
    } catch (error) {
      this.stale = error;
      throw error;
    } finally {
      this.page.changed();
    }
  }

  /** The objects that the list is about. The form for a new item is filled with them. */
  #asked() {
    const names = this.filters.filter(({ of }) => of !== undefined).map(({ name }) => name);
    return Object.fromEntries(names.map((name) => [name, this.query[name]]));
  }

  /** Newest first where possible, because people mostly look for recent items. */
  #order() {
    return this.sorts.includes("-created_at") ? { sort: this.query.sort ?? "-created_at" } : {};
  }

  template() {
    const { place, path, inside } = this;
    const heading = inside
      ? html`<h2>${label(inside)}${this.waiting ? " that are pending" : nothing}</h2>`
      : html`<h1 tabindex="-1">${this.title}</h1>`;
    const { post } = place.operations;
    const create = post && this.page.may(post) ? post : undefined;
    return html`<section aria-label=${label(this.title)} class=${inside ? "card" : ""}>
      ${!inside && this.page.doc.hasPage(this.page.doc.place(parentOf(path))) ? html`<p class="kind"><a href=${hashOf(parentOf(path))}>Back</a></p>` : nothing}
      <header class="head">${heading} ${this.poll ? pollState(this.stale) : nothing}
        ${create ? html`<a class="button ${inside ? "" : "primary"}" href=${hashOf(path, { ...this.#asked(), view: "new" })}>${inside ? this.page.doc.nameOf(place) : "New"}</a>` : nothing}
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
              ${(field.enum ?? ["true", "false"]).map((option) => html`<option value=${option} .selected=${this.query[field.name] === option}>${OPTIONS[option] ?? option.replaceAll("_", " ")}</option>`)}</select>`
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
      const filtered = !this.inside && Object.keys(this.query).length > 0;
      return html`<p class="empty">${this.waiting ? "Nothing is pending." : filtered ? "No matches." : "There is nothing here yet."}</p>`;
    }
    const { doc } = this.page;
    // Amounts below an object are in its currency, such as the payments of an invoice.
    const currency = this.above?.object?.currency;
    const actions = this.#rowActions();
    const items = this.items.map((item) => doc.aged(this.entity, item, this.clock));
    // What is pending has no result yet.
    const columns = this.waiting ? this.columns.filter(({ name }) => name !== "status" && items.some((item) => item[name] !== null)) : this.columns;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="${label(this.title)}: table"><table class="list">
      <thead><tr>
        ${this.canOpen ? html`<th scope="col">${label(kindOf(this.entity))}</th>` : nothing}
        ${columns.map((field) => html`<th scope="col" class=${field.type === "integer" ? "number" : ""}>${label(field.name)}</th>`)}
        ${actions.length ? html`<th scope="col"><span class="hidden">Actions</span></th>` : nothing}
      </tr></thead>
      <tbody>${items.map((item) => html`<tr>
        ${this.canOpen ? html`<th scope="row"><a href=${this.#addressOf(item)} title=${titleOf(item)}>${shortId(titleOf(item))}</a></th>` : nothing}
        ${columns.map((field) => html`<td data-field=${field.name} class=${field.type === "integer" ? "number" : ""}>${value(doc, field, item[field.name], { currency, ...item }, true)}</td>`)}
        ${actions.length ? html`<td class="actions">${actions.map((action) => action(item))}</td>` : nothing}
      </tr>`)}</tbody>
    </table></div>
    ${this.#pages()}`;
  }

  /** The address of an item, or of one of its actions. */
  #addressOf(item, action) {
    const key = item.id ?? item.feature ?? item.key;
    const list = this.item.path.startsWith(`${this.place.path}/`) ? this.path : parentOf(this.item.path);
    const names = Object.fromEntries(this.page.doc.namesOf(this.item).map((name) => [name, item[name] ?? undefined]));
    return hashOf(`${list}/${encodeURIComponent(key)}${action ? `/${action}` : ""}`, { ...names, ...(action ? { view: "new" } : {}) });
  }

  /** The actions on an item, shown beside it or in place of its page. */
  #rowActions() {
    const { doc, may } = this.page;
    if (this.item === undefined) return [];
    const actions = doc.actionsOf(this.item).filter(({ operations }) => may(operations.post)).map((action) => (item) => {
      const name = action.path.split("/").pop();
      const href = this.#addressOf(item, name);
      if (!doc.actionsNow(this.item, this.entity, item).includes(action)) return nothing;
      if (!doc.isForce(action)) return html`<a class="button small" href=${href}>${splitSummary(action.operations.post.summary)[0]}</a>`;
      const isHeld = doc.timesLeft(this.entity).every((left) => item[left] > 0);
      return isHeld ? html`<a class="button small danger" href=${href} aria-label="${label(name)}: ${titleOf(item)}">${label(name)}</a>` : nothing;
    });
    const { get, delete: remove } = this.item.operations;
    if (remove && !get && may(remove)) {
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
      const all = (query, text) => html`<a href=${hashOf(this.path, query)}>${text} ${label(lastOf(this.place.path)).toLowerCase()}</a>`;
      return html`${this.next ? html`<p>${all(this.query, this.waiting ? "All pending" : "All")}</p>` : nothing}
        ${this.waiting ? html`<p>${all({}, "All")}</p>` : nothing}`;
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
function columnsOf(fields, canOpen, names) {
  if (names.length > 0) {
    // What names it, then texts, the time left, numbers and instants.
    const rank = ({ name, type, format, isTimeLeft }) => (["key", ...names].includes(name) ? 0 : isTimeLeft ? 2 : format === "date-time" ? 4 : type === "string" ? 1 : 3);
    return fields.toSorted((a, b) => rank(a) - rank(b));
  }
  if (!canOpen) {
    const told = fields.filter(({ name }) => name !== "id" && name !== "request_id");
    return [...told, ...fields.filter(({ name }) => name === "request_id")];
  }
  const short = fields.filter((field) => !field.isLarge && !LEFT_OUT.includes(field.name));
  const status = short.filter(({ name }) => name === "status");
  const last = short.filter(({ name }) => ["version", "updated_at"].includes(name));
  const rest = short.filter((field) => !status.includes(field) && !last.includes(field));
  // A record that never changes, such as a transfer, is read as a row.
  const max = fields.some(({ name }) => name === "by") ? fields.length : COLUMNS_MAX;
  return [...status, ...rest.slice(0, max - status.length - last.length), ...last];
}
