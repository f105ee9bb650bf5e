// Editing an object. A save names the version that the form was loaded from and sends only the changed fields. The input
// is kept until it is saved or discarded.

import { html, nothing } from "./lit-html.js";
import { isConflict, mayResend, NoAnswer, read, send, write } from "./api.js";
import { ConflictPanel } from "./resolve.js";
import { Draft, inputs } from "./form.js";
import { ForcePanel } from "./force.js";
import { diff } from "./patch.js";
import { differences, failure, news } from "./parts.js";
import { hashOf } from "./route.js";
import { kindOf } from "./document.js";
import { label, notes, shortId, titleOf } from "./words.js";
import { Watch } from "./watch.js";

export class EditView {
  errors = [];

  constructor(page, route) {
    Object.assign(this, { page, ...route });
    this.fields = page.doc.bodyFields(this.place, "patch");
    this.title = "Edit";
  }

  async load() {
    try {
      this.#begin((await read(this.path)).body);
      this.title = `Edit ${shortId(titleOf(this.base))}`;
      if (this.query.from !== undefined) {
        const old = (await read(`${this.path}/versions/${this.query.from}`)).body;
        this.draft.fill(this.page.doc.writable(this.fields, old));
      }
    } catch (error) {
      this.error = error;
    }
  }

  #begin(object) {
    this.base = object;
    this.draft = new Draft(this.fields, this.page.doc.writable(this.fields, object));
    this.watch?.close();
    this.watch = new Watch(kindOf(this.page.doc.entityOf(this.place)), object, this.page.changed);
  }

  get isDirty() {
    return this.draft?.isDirty === true || this.pending !== undefined;
  }

  close() {
    this.watch?.close();
  }

  template() {
    if (this.base === undefined) return html`<h1 tabindex="-1">Edit</h1>${this.error ? failure(this.error) : html`<p class="quiet">Loading…</p>`}`;
    return html`<article>
      <header class="object"><p class="kind"><a href=${hashOf(this.path)}>${label(kindOf(this.page.doc.entityOf(this.place)))}</a> <code>${this.base.id}</code></p>
        <h1 tabindex="-1">${this.title}</h1>
        <p class="quiet">From version <strong data-version>${this.base.version}</strong>${this.query.from ? html`, filled with version ${this.query.from}` : nothing}. If somebody else saves first, you decide which changes to keep.</p></header>
      ${this.conflict ? this.conflict.template() : html`${this.#news()} ${this.#outcome()} ${this.#form()}`}
    </article>`;
  }

  #news() {
    const { event } = this.watch;
    if (!event) return nothing;
    const toggle = () => {
      this.isComparing = !this.isComparing;
      this.page.changed();
    };
    return html`${news(event, html`<button class="link" aria-expanded=${this.isComparing ? "true" : "false"} @click=${toggle}>See the difference</button>
      Your input is kept; saving shows you both.`)}
      ${this.isComparing ? html`<div class="card">${differences(event.changes)}</div>` : nothing}`;
  }

  /** The result of the last save, unless it succeeded. */
  #outcome() {
    if (this.unchanged) return html`<div class="notice plain" role="status"><p>You have not changed anything.</p></div>`;
    if (!this.error) return nothing;
    const again = () => this.#submit(this.pending);
    const back = () => {
      this.pending = this.error = undefined;
      this.page.changed();
    };
    const unknown = this.error instanceof NoAnswer || this.error.status === 500;
    return html`${failure(this.error)}
      ${unknown ? html`<p>It is unknown whether your change was saved. Sending it again is safe: it is applied at most once.</p>` : nothing}
      ${mayResend(this.error) ? html`<div class="bar">
        <button class="primary" ?disabled=${this.sending} @click=${again}>Send the same again</button>
        <button ?disabled=${this.sending} @click=${back}>Go back to the form</button></div>` : nothing}
      ${this.force ? this.force.template() : nothing}`;
  }

  #form() {
    const locked = this.sending || (this.error !== undefined && mayResend(this.error));
    const submit = (event) => {
      event.preventDefault();
      this.#save();
    };
    const typed = () => {
      this.unchanged = false;
      this.page.changed();
    };
    return html`<form class="card" @submit=${submit} novalidate>
      <fieldset ?disabled=${locked}><legend class="hidden">Fields</legend>
        <div class="inputs">${inputs(this.draft, this.errors, typed)}</div></fieldset>
      <div class="bar sticky"><button class="primary" ?disabled=${locked}>${this.sending ? "Saving…" : "Save"}</button>
        <a class="button" href=${hashOf(this.path)}>Discard</a></div>
    </form>`;
  }

  #save() {
    const { values, errors } = this.draft.read();
    this.errors = errors;
    this.error = this.force = undefined;
    const patch = errors.length ? {} : diff(this.draft.base, values);
    this.unchanged = errors.length === 0 && Object.keys(patch).length === 0;
    if (errors.length || this.unchanged) {
      this.page.changed();
      if (errors.length) this.page.focus('[aria-invalid="true"]');
      return;
    }
    const attempt = write("PATCH", this.path, { body: patch, version: this.base.version });
    this.#submit({ attempt, patch, base: this.base, mine: { ...this.base, ...values } });
  }

  /** Sends a save { attempt, patch, base, mine }, including the saves that follow a conflict or a force. */
  #submit = async (pending) => {
    this.pending = pending;
    this.sending = true;
    this.page.changed();
    try {
      const answer = await send(pending.attempt);
      this.#done(answer);
    } catch (error) {
      this.#refused(error, pending);
    } finally {
      this.sending = false;
      this.page.changed();
    }
  };

  #done({ body, headers }) {
    this.#begin(body);
    this.pending = this.error = this.conflict = undefined;
    this.page.leaveNotes([`Saved. This is version ${body.version}.`, ...notes(headers)]);
    this.page.go(hashOf(this.path));
  }

  #refused(error, pending) {
    const { page, path } = this;
    if (isConflict(error)) {
      this.pending = this.error = undefined;
      this.conflict = new ConflictPanel({ page, path, problem: error.problem, pending, submit: this.#submit, rebase: this.#rebase, discard: this.#discard });
      page.focus("h2");
    } else if (this.conflict) {
      this.conflict.refused(error, pending);
    } else {
      this.error = error;
      this.errors = error.problem?.errors ?? [];
      if (!mayResend(error)) this.pending = undefined;
      // The only rule that force overrides: see CAPACITY_BELOW_RESERVED in the API's documentation.
      const canForce = page.isAdmin && error.problem?.code === "CAPACITY_BELOW_RESERVED";
      this.force = canForce ? new ForcePanel({ page, path, pending, submit: this.#submit }) : undefined;
      page.focus(this.errors.length ? '[aria-invalid="true"]' : '[role="alert"]');
    }
  }

  /** Goes back to the form, based on the current object and filled with `mine`. */
  #rebase = (current, mine) => {
    this.#begin(current);
    this.draft.fill(this.page.doc.writable(this.fields, mine));
    this.conflict = this.pending = this.error = undefined;
    this.errors = [];
    this.page.changed();
  };

  #discard = () => {
    this.#begin(this.base);
    this.pending = undefined;
    this.page.go(hashOf(this.path));
  };
}
