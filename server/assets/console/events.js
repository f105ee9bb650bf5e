// The live feed of all changes.

import { html, nothing } from "./lit-html.js";
import { badge, differences, resource, when } from "./parts.js";
import { author } from "./history.js";
import { follow } from "./stream.js";
import { hashOf } from "./route.js";
import { label } from "./words.js";
import { kindOf } from "./document.js";

const KEPT = 100;
const STATES = { live: "Live", waiting: "Connection lost; trying again…", refused: "The server refuses this stream." };

export class EventsView {
  title = "Events";
  events = [];

  constructor(page, { path, query }) {
    Object.assign(this, { page, path, query });
    this.stop = new AbortController();
    this.follow();
  }

  load() {}

  follow() {
    const query = { last: KEPT, ...(this.query.type ? { type: this.query.type } : {}) };
    const add = (event) => {
      this.events = [event, ...this.events].slice(0, KEPT);
      this.page.changed();
    };
    follow(query, this.stop.signal, add, (state) => {
      this.state = state;
      this.page.changed();
    });
  }

  close() {
    this.stop.abort();
  }

  template() {
    const { doc } = this.page;
    const kinds = doc.tops().filter(({ isCollection }) => isCollection).map(({ place }) => kindOf(doc.itemOf(place)));
    const choose = (event) => this.page.go(hashOf(this.path, { type: event.currentTarget.value }));
    return html`<section>
      <header class="head"><h1 tabindex="-1">Events</h1><span class="state ${this.state ?? ""}" role="status">${STATES[this.state] ?? "Connecting…"}</span></header>
      <form class="filters"><label>Kind of object
        <select @change=${choose}><option value="">Any</option>${kinds.map((kind) => html`<option value=${kind} .selected=${this.query.type === kind}>${label(kind)}</option>`)}</select></label></form>
      ${this.events.length === 0 ? html`<p class="empty">Nothing yet. Changes appear here as they happen.</p>` : nothing}
      <ol class="history">${this.events.map((event) => html`<li class="card">
        <header>${badge(event.kind)} ${resource(doc, event.resource)} <span class="quiet">version ${event.version}</span> ${author(event)} ${when(event.at)}</header>
        ${event.changes.length ? html`<details><summary>${event.changes.map(({ path }) => label(path)).join(", ")}</summary>${differences(event.changes)}</details>` : nothing}
      </li>`)}</ol>
    </section>`;
  }
}
