// One object: its current state, its lists and actions, and a notice when it has just been changed. With `inside` it is
// shown below another object.

import { html, nothing } from "./lit-html.js";
import { isConflict, read, send, write } from "./api.js";
import { actionLinks, badge, changedMeanwhile, failure, fieldsOf, news, notice, pollState, when } from "./parts.js";
import { label, shortId, titleOf } from "./words.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { kindOf } from "./document.js";
import { ListView } from "./list.js";
import { Poll } from "./poll.js";
import { PreviewView, TableView } from "./table.js";
import { PeriodsView, TimelineView } from "./timeline.js";
import { Watch } from "./watch.js";

const BELOW = { list: ListView, periods: PeriodsView, timeline: TimelineView, table: TableView };
const ACCEPTED = 202;
const SHOWN_ABOVE = ["id", "version", "updated_at", "updated_by", "created_at", "status"];

export class ObjectView {
  constructor(page, route, inside) {
    Object.assign(this, { page, inside, ...route });
    this.entity = page.doc.entityOf(this.place);
    this.title = label(kindOf(this.entity));
    this.below = page.doc.belowOf(this.place).map(({ place, name }) => {
      const Below = BELOW[page.doc.shapeOf(place)];
      const view = new Below(page, { path: `${this.path}/${name}`, place, query: {} }, inside ? `${inside}/${name}` : name);
      return Object.assign(view, { above: this });
    });
    if (inside) return;
    this.notes = page.takeNotes();
    const previews = page.doc.previewsAbout(this.entity).filter(({ operations }) => page.may(operations.post));
    this.below.unshift(...previews.map((place) => new PreviewView(page, place, this)));
    // Servers stand before the credits that they cost.
    const parts = this.below.findIndex((view) => view instanceof ObjectView);
    this.below.splice(Math.max(parts, 0), 0, ...this.#workedOn());
  }

  /** The lists of what refers to it and what workers change, such as a workspace's servers. Others are links. */
  #workedOn() {
    const { page, path } = this;
    const lists = page.doc.referringTo(this.entity).filter(({ place }) => page.doc.isWorkedOn(page.doc.itemOf(place)) && page.may(place.operations.get));
    return lists.map(({ place, filter }) => new ListView(page, { path: place.path, place, query: { [filter]: lastOf(path), sort: "-created_at" } }, lastOf(place.path)));
  }

  async load() {
    try {
      await this.#read();
    } catch (error) {
      this.error = error;
      return;
    }
    if (this.isClosed) return;
    if (this.object.version !== undefined && this.#hasHistory()) {
      this.watch ??= new Watch(kindOf(this.entity), this.object, () => this.#changed());
    }
    if (this.query.view === "delete") return;
    await Promise.all(this.below.map((view) => view.load()));
    if (!this.inside && !this.isClosed) this.poll ??= new Poll(() => this.isLive && this.refresh(), () => this.isLive && this.page.changed());
  }

  async #read() {
    const named = Object.entries(this.query).filter(([name]) => this.page.doc.namesOf(this.place).includes(name));
    const { body, clock } = await read(this.path, Object.fromEntries(named));
    Object.assign(this, { object: body, clock });
    this.title = titleOf(body) || this.title;
  }

  /** Whether it must be read again: workers go on with it, or no event tells that it changes, as with credits. */
  get #isMoving() {
    return this.object !== undefined && (this.#isPart || this.page.doc.isUnsettled(this.entity, this.object));
  }

  /** Whether it or something below it must be read again. */
  get isLive() {
    return this.#isMoving || this.below.some((view) => view.isLive);
  }

  async refresh() {
    const isMoving = this.#isMoving;
    try {
      if (isMoving) await this.#read();
      await Promise.all(this.below.filter((view) => view.refresh && (isMoving || view.isLive)).map((view) => view.refresh()));
      this.stale = undefined;
    } catch (error) {
      if (error.problem?.code === "DELETED") {
        Object.assign(this, { error, object: undefined });
        return;
      }
      this.stale = error;
      throw error;
    } finally {
      this.page.changed();
    }
  }

  /** Another version was made. A page that reads again by itself shows it. */
  #changed() {
    if (this.#isMoving) this.poll?.soon();
    this.page.changed();
  }

  close() {
    this.isClosed = true;
    this.watch?.close();
    this.poll?.close();
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
    const { patch, delete: remove } = this.page.doc.isDeleted(object) ? {} : place.operations;
    const { event } = this.watch ?? {};
    const isNews = event !== undefined && event.version > object.version && !this.#isMoving;
    return html`<article>
      ${this.#heading(this.title)}
      <div class="bar">
        ${patch && may(patch) ? html`<a class="button primary" href=${hashOf(path, { view: "edit" })}>Edit</a>` : nothing}
        ${this.#hasHistory() ? html`<a class="button" href=${hashOf(`${path}/history`)}>History</a>` : nothing}
        ${this.#actions()}
        ${remove && may(remove) ? html`<a class="button danger" href=${hashOf(path, { view: "delete" })}>Delete…</a>` : nothing}
      </div>
      ${notice(this.notes)}
      ${isNews ? news(event, html`<button class="link" @click=${() => this.#again()}>Show it as it is now</button>`) : nothing}
      <section class="card" aria-label="Fields">${this.#fieldList()}</section>
      ${this.#references()}
      ${this.below.map((view) => view.template())}
    </article>`;
  }

  /** A part of the object on the page, such as a workspace's credits. */
  #part() {
    return html`<section class="card" aria-label=${label(this.inside)}>
        <header class="head"><h2><a href=${hashOf(this.path)}>${label(this.inside)}</a></h2>${this.#state()}</header>
        ${failure(this.error)}
        ${this.object ? html`${this.#fieldList()}<div class="bar">${this.#actions()}</div>` : nothing}
      </section>
      ${this.object ? this.below.map((view) => view.template()) : nothing}`;
  }

  #actions() {
    return actionLinks(this.page, this.place, this.path, this.entity, this.object);
  }

  #fieldList() {
    const { doc } = this.page;
    return fieldsOf(doc, this.#fields(), doc.aged(this.entity, this.object, this.clock));
  }

  /** Whether it is shown as it is now, if it moves. */
  #state() {
    return this.#isMoving ? pollState(this.stale) : nothing;
  }

  /** A part of an object has no ID of its own. */
  get #isPart() {
    return !this.place.path.endsWith("}");
  }

  #heading(title) {
    const { object, page } = this;
    const above = page.doc.place(parentOf(this.path));
    const [kind, id] = this.#isPart ? [page.doc.entityOf(above), lastOf(parentOf(this.path))] : [this.entity, object.id];
    return html`<header class="object">
      <p class="kind">${above ? html`<a href=${hashOf(parentOf(this.path))}>${label(kindOf(kind))}</a>` : label(kindOf(kind))} ${id ? html`<code>${id}</code>` : nothing}</p>
      <h1 tabindex="-1">${shortId(title)} ${object.status ? badge(object.status) : nothing} ${this.query.view === "delete" ? nothing : this.#state()}</h1>
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
    const lists = this.page.doc.referringTo(this.entity).filter(({ place }) => !this.below.some((view) => view.place === place));
    if (lists.length === 0) return nothing;
    return html`<nav class="references" aria-label="What refers to it">
      ${lists.map(({ place, title, filter }) => html`<a class="button" href=${hashOf(place.path, { [filter]: this.object.id })}>Its ${title.toLowerCase()}</a>`)}
    </nav>`;
  }

  async #again() {
    this.close();
    this.watch = this.poll = undefined;
    this.isClosed = false;
    this.notes = undefined;
    await this.load();
    this.page.changed();
  }

  #removal() {
    const { object, removal = {} } = this;
    return html`<article>
      ${this.#heading(`Delete ${shortId(titleOf(object))}?`)}
      ${removal.conflict ? changedMeanwhile(removal.conflict, "Nothing was deleted.") : failure(removal.error)}
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
      const { status, body } = await send(attempt);
      if (status === ACCEPTED) {
        // Workers delete it. Until then, and afterwards, it has a page.
        this.page.leaveNotes(["Accepted. It is being deleted; its status tells when it is gone."]);
        this.page.go(hashOf(this.path));
        return;
      }
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
