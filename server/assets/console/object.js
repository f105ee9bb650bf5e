// One object: its current state, its lists and actions, and a notice when it has just been changed. With `inside` it is
// shown below another object.

import { html, nothing } from "./lit-html.js";
import { isConflict, read, send, write } from "./api.js";
import { actionLinks, badge, differences, failure, fieldsOf, news, notice, when } from "./parts.js";
import { byText, instant, label, shortId, titleOf } from "./words.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { kindOf } from "./document.js";
import { ListView } from "./list.js";
import { TableView } from "./table.js";
import { Watch } from "./watch.js";

const BELOW = { list: ListView, table: TableView };
const SHOWN_ABOVE = ["id", "version", "updated_at", "updated_by", "created_at", "status"];

export class ObjectView {
  constructor(page, route, inside) {
    Object.assign(this, { page, inside, ...route });
    this.entity = page.doc.entityOf(this.place);
    this.title = label(kindOf(this.entity));
    this.below = page.doc.belowOf(this.place).map(({ place, name }) => {
      const Below = BELOW[page.doc.shapeOf(place)];
      return new Below(page, { path: `${this.path}/${name}`, place, query: {} }, inside ? `${inside}/${name}` : name);
    });
    if (!inside) this.notes = page.takeNotes();
  }

  async load() {
    try {
      const named = Object.entries(this.query).filter(([name]) => this.page.doc.namesOf(this.place).includes(name));
      const { body, clock } = await read(this.path, Object.fromEntries(named));
      this.object = this.page.doc.aged(this.entity, body, clock);
      this.title = titleOf(body) || this.title;
    } catch (error) {
      this.error = error;
      return;
    }
    if (this.object.version !== undefined && this.#hasHistory()) {
      this.watch ??= new Watch(kindOf(this.entity), this.object, this.page.changed);
    }
    if (this.query.view === "delete") return;
    await Promise.all(this.below.map((view) => view.load()));
  }

  close() {
    this.watch?.close();
  }

  template() {
    const { object, place, path } = this;
    const { may } = this.page;
    if (this.inside) return this.#part();
    if (object === undefined) {
      const known = this.error?.problem?.code === "DELETED";
      return html`<h1 tabindex="-1">${this.title}</h1>${failure(this.error)}
        ${known ? html`<p><a class="button" href=${hashOf(`${path}/history`)}>Its history</a></p>` : nothing}
        ${this.error ? nothing : html`<p class="quiet">Loading…</p>`}`;
    }
    if (this.query.view === "delete") return this.#removal();
    const { patch, delete: remove } = place.operations;
    return html`<article>
      ${this.#heading(this.title)}
      <div class="bar">
        ${patch && may(patch) ? html`<a class="button primary" href=${hashOf(path, { view: "edit" })}>Edit</a>` : nothing}
        ${this.#hasHistory() ? html`<a class="button" href=${hashOf(`${path}/history`)}>History</a>` : nothing}
        ${this.#actions()}
        ${remove && may(remove) ? html`<a class="button danger" href=${hashOf(path, { view: "delete" })}>Delete…</a>` : nothing}
      </div>
      ${notice(this.notes)}
      ${this.watch?.event ? news(this.watch.event, html`<button class="link" @click=${() => this.#refresh()}>Show it as it is now</button>`) : nothing}
      <section class="card" aria-label="Fields">${fieldsOf(this.page.doc, this.#fields(), object)}</section>
      ${this.#references()}
      ${this.below.map((view) => view.template())}
    </article>`;
  }

  /** A part of the object on the page, such as a workspace's credits. */
  #part() {
    return html`<section class="card" aria-label=${label(this.inside)}>
        <header class="head"><h2><a href=${hashOf(this.path)}>${label(this.inside)}</a></h2></header>
        ${failure(this.error)}
        ${this.object ? html`${fieldsOf(this.page.doc, this.#fields(), this.object)}<div class="bar">${this.#actions()}</div>` : nothing}
      </section>
      ${this.object ? this.below.map((view) => view.template()) : nothing}`;
  }

  #actions() {
    const { doc } = this.page;
    const isOver = doc.canPend(this.entity) && !doc.isPending(this.entity, this.object);
    return isOver ? nothing : actionLinks(this.page, this.place, this.path);
  }

  #heading(title) {
    const { object, page } = this;
    const above = page.doc.place(parentOf(this.path));
    // A part of an object has no ID of its own.
    const isPart = !this.place.path.endsWith("}");
    const [kind, id] = isPart ? [page.doc.entityOf(above), lastOf(parentOf(this.path))] : [this.entity, object.id];
    return html`<header class="object">
      <p class="kind">${above ? html`<a href=${hashOf(parentOf(this.path))}>${label(kindOf(kind))}</a>` : label(kindOf(kind))} ${id ? html`<code>${id}</code>` : nothing}</p>
      <h1 tabindex="-1">${shortId(title)} ${object.status ? badge(object.status) : nothing}</h1>
      ${object.updated_by === undefined ? nothing : html`<p class="quiet">Version <strong data-version>${object.version}</strong>,
        ${object.version === 1 ? "created" : "changed"} by <strong>${object.updated_by}</strong> ${when(object.updated_at)}${object.version === 1 ? nothing : html`; created ${when(object.created_at)}`}</p>`}
    </header>`;
  }

  #fields() {
    const hidden = this.object.updated_by === undefined ? ["id", "version"] : SHOWN_ABOVE;
    const fields = this.page.doc.agedFields(this.entity).filter(({ name }) => !hidden.includes(name));
    return [...fields.filter(({ isLarge }) => !isLarge), ...fields.filter(({ isLarge }) => isLarge)];
  }

  #hasHistory() {
    return this.page.doc.place(`${this.path}/history`) !== undefined;
  }

  #references() {
    const lists = this.page.doc.referringTo(this.entity);
    if (lists.length === 0) return nothing;
    return html`<nav class="references" aria-label="What refers to it">
      ${lists.map(({ place, title, filter }) => html`<a class="button" href=${hashOf(place.path, { [filter]: this.object.id })}>Its ${title.toLowerCase()}</a>`)}
    </nav>`;
  }

  async #refresh() {
    this.close();
    this.watch = undefined;
    this.notes = undefined;
    await this.load();
    this.page.changed();
  }

  #removal() {
    const { object, removal = {} } = this;
    const changes = removal.conflict?.changes;
    return html`<article>
      ${this.#heading(`Delete ${shortId(titleOf(object))}?`)}
      ${changes ? html`<div class="notice bad" role="alert">
        <p><strong>It was changed in the meantime</strong> and is now at version ${removal.conflict.current_version}. Nothing was deleted. Look at the changes before you go on.</p>
        ${differences(changes.map(({ path, base, current }) => ({ path, from: base, to: current })))}
        <p class="detail">${[...new Set(changes.map(({ by, at }) => `${byText(by)}, ${instant(at)}`))].join("; ")}</p>
      </div>` : failure(removal.error)}
      <p>This deletes version ${object.version}. If somebody changes the object first, nothing is deleted. Its history is kept.</p>
      <div class="bar">
        <button class="danger primary" ?disabled=${removal.sending} @click=${() => this.#remove()}>Delete version ${object.version}</button>
        <a class="button" href=${hashOf(this.path)}>Keep it</a>
      </div>
    </article>`;
  }

  async #remove() {
    // The same write again, if it is unknown whether the first one was applied.
    const attempt = this.removal?.attempt ?? write("DELETE", this.path, { version: this.object.version });
    this.removal = { attempt, sending: true };
    this.page.changed();
    try {
      const { body } = await send(attempt);
      this.page.leaveNotes([`Deleted ${titleOf(this.object)} (${body.id}), last at version ${body.last_version}.`]);
      this.page.go(hashOf(`${this.path}/history`));
    } catch (error) {
      if (isConflict(error)) {
        this.removal = { conflict: error.problem };
        this.object = error.problem.current;
      } else {
        this.removal = { error, attempt: error.problem ? undefined : attempt };
      }
      this.page.changed();
    }
  }
}

BELOW.object = ObjectView;
