// An object's history (who changed what and when) and its state at a version.

import { html, nothing } from "./lit-html.js";
import { read } from "./api.js";
import { badge, differences, failure, fieldsOf, notice, when } from "./parts.js";
import { hashOf, lastOf, parentOf } from "./route.js";
import { label } from "./words.js";

export class HistoryView {
  constructor(page, route) {
    Object.assign(this, { page, ...route });
    this.of = parentOf(this.path);
    this.title = "History";
    this.notes = page.takeNotes();
  }

  async load() {
    try {
      const { body } = await read(this.path, { sort: "-version", ...this.query });
      this.entries = body.items;
      this.next = body.next_cursor;
    } catch (error) {
      this.error = error;
    }
  }

  template() {
    return html`<section>
      <header class="object"><p class="kind"><a href=${hashOf(this.of)}>${lastOf(this.of)}</a></p><h1 tabindex="-1">History</h1></header>
      ${notice(this.notes)} ${failure(this.error)}
      ${this.entries === undefined ? nothing : html`<ol class="history">${this.entries.map((entry) => this.#entry(entry))}</ol>`}
      ${this.next ? html`<nav class="pages"><a class="button" href=${hashOf(this.path, { cursor: this.next })}>Next page</a></nav>` : nothing}
    </section>`;
  }

  #entry(entry) {
    const { version, kind, at, changes, overwrote } = entry;
    const canEdit = this.page.doc.place(this.of)?.operations.patch;
    return html`<li class="card" data-version=${version}>
      <header><h2>Version ${version}</h2> ${badge(kind)} ${author(entry)} <span class="quiet">${when(at)}</span></header>
      ${entry.reason ? html`<p>Reason: <q>${entry.reason}</q></p>` : nothing}
      ${overwrote?.length ? html`<p class="warn">Replaced changes by others: ${overwrote.map(label).join(", ")}</p>` : nothing}
      ${changes.length && kind !== "created" ? differences(changes) : nothing}
      ${kind === "created" && changes.length ? html`<details><summary>With ${changes.length} fields</summary>${differences(changes)}</details>` : nothing}
      ${kind === "deleted" ? nothing : html`<p class="bar">
        <a class="button small" href=${hashOf(`${this.of}/versions/${version}`)}>As it was</a>
        ${canEdit ? html`<a class="button small" href=${hashOf(this.of, { view: "edit", from: version })}>Restore into the form…</a>` : nothing}
      </p>`}
    </li>`;
  }
}

export const author = ({ by }) => html`<span class="by">by <strong>${by.actor}</strong>
  ${by.on_behalf_of ? html`for <strong>${by.on_behalf_of}</strong>` : nothing} ${by.source === "api" ? nothing : html`<span class="quiet">(${by.source})</span>`}</span>`;

export class VersionView {
  constructor(page, route) {
    Object.assign(this, { page, ...route });
    this.of = parentOf(parentOf(this.path));
    this.title = `Version ${lastOf(this.path)}`;
  }

  async load() {
    try {
      this.object = (await read(this.path)).body;
    } catch (error) {
      this.error = error;
    }
  }

  template() {
    const { doc } = this.page;
    return html`<section>
      <header class="object"><p class="kind"><a href=${hashOf(this.of)}>${lastOf(this.of)}</a> · <a href=${hashOf(`${this.of}/history`)}>history</a></p>
        <h1 tabindex="-1">As it was at version ${lastOf(this.path)}</h1></header>
      ${failure(this.error)}
      ${this.object ? html`<p class="bar"><a class="button" href=${hashOf(this.of, { view: "edit", from: lastOf(this.path) })}>Restore into the form…</a></p>
        <div class="card">${fieldsOf(doc, doc.fields(doc.entityOf(this.place)), this.object)}</div>` : nothing}
    </section>`;
  }
}
