// Forms for a POST: a new object, a payment, a key, a reversal. Shows the object that an action is about.
// `ForceItemView` builds on it.

import { html, nothing } from "./lit-html.js";
import { isConflict, mayResend, read, send, write } from "./api.js";
import { Draft, inputs } from "./form.js";
import { changedMeanwhile, failure, fieldsOf } from "./parts.js";
import { hashOf, parentOf } from "./route.js";
import { label, notes, splitSummary, titleOf } from "./words.js";

const MADE = { 201: "Created.", 202: "Accepted. It is being made; its status tells when it is there." };

export class CreateView {
  errors = [];
  style = "primary";

  constructor(page, route) {
    Object.assign(this, { page, ...route });
    const { summary } = this.place.operations.post;
    const [name, meaning] = splitSummary(summary);
    this.button = name;
    this.meaning = meaning;
    this.named = Object.fromEntries(Object.entries(route.query).filter(([name]) => page.doc.namesAbove(this.place).includes(name)));
    this.title = page.doc.nameOf(this.place);
    // A write that is about what a person saw: their decision about a version.
    this.isDecision = page.doc.namesVersion(this.place.operations.post);
    const fields = page.doc.bodyFields(this.place, "post").filter(({ name }) => !page.doc.namesAbove(this.place).includes(name));
    const known = fields.filter(({ name, of }) => of !== undefined && route.query[name] !== undefined);
    this.draft = new Draft(fields, undefined, Object.fromEntries(known.map(({ name }) => [name, route.query[name]])));
  }

  async load() {
    this.item = this.place.operations.get ? undefined : this.page.doc.place(parentOf(this.path));
    if (this.item?.operations.get) await this.look().catch(() => {});
  }

  /** Reads the object that the action is about. */
  async look() {
    try {
      const { body, clock } = await read(parentOf(this.path), this.named);
      Object.assign(this, { found: body, clock, lookError: undefined });
    } catch (error) {
      this.lookError = error;
      throw error;
    } finally {
      this.page.changed();
    }
  }

  get isDirty() {
    return !this.made && this.draft.isDirty;
  }

  /** The nearest parent path that has a page. */
  get #above() {
    let path = this.place.operations.get ? this.path : parentOf(this.path);
    while (path !== "" && !this.page.doc.hasPage(this.page.doc.place(path))) path = parentOf(path);
    return path;
  }

  template() {
    return html`<article>
      <header class="object"><p class="kind"><a href=${hashOf(this.#above)}>Back</a></p><h1 tabindex="-1">${this.title}</h1></header>
      ${this.made ? [this.#result(), this.about()] : [this.about(), this.#form()]}
    </article>`;
  }

  /** Whether the form can be sent. The server judges the rest. */
  get isComplete() {
    return true;
  }

  /** What the form is about, and what happens. */
  about() {
    return html`${this.asItIs()}
      ${this.meaning && !this.made ? html`<p>${this.meaning} ${this.found && this.page.doc.canPend(this.entity) ? "This cannot be undone." : nothing}</p>` : nothing}`;
  }

  get entity() {
    return this.page.doc.entityOf(this.item);
  }

  asItIs(state) {
    if (this.found === undefined && this.lookError === undefined) return nothing;
    const { doc } = this.page;
    return html`<section class="card" aria-label="As it is now">
      <header class="head"><h2>${this.isDecision && this.found ? `As it is at version ${this.found.version}` : "As it is now"}</h2>${state}</header>
      ${this.found === undefined ? failure(this.lookError) : fieldsOf(doc, doc.agedFields(this.entity).filter(({ name }) => name !== "version"), doc.aged(this.entity, this.found, this.clock))}
    </section>`;
  }

  #form() {
    const submit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    const typed = () => {
      // Input after a refusal makes another request. After no answer, the same request must be sent again.
      if (!(this.error && mayResend(this.error))) this.attempt = undefined;
      this.page.changed();
    };
    const locked = this.sending || (this.error !== undefined && mayResend(this.error));
    const back = () => {
      this.attempt = this.error = undefined;
      this.page.changed();
    };
    return html`${this.conflict ? changedMeanwhile(this.conflict, "Nothing was done.") : failure(this.error)}
      ${locked && !this.sending ? html`<p>It is unknown whether this was done. Sending it again is safe: it is done at most once.</p>
        <div class="bar"><button class="primary" @click=${() => this.#submit()}>Send the same again</button><button @click=${back}>Go back to the form</button></div>` : nothing}
      <form class="card" @submit=${submit} novalidate>
        <fieldset ?disabled=${locked}><legend class="hidden">Fields</legend>${this.draft.fields.length ? html`<div class="inputs">${inputs(this.draft, this.errors, typed)}</div>` : html`<p class="quiet">Nothing needs to be filled in.</p>`}</fieldset>
        <div class="bar sticky"><button class=${this.style} ?disabled=${locked || !this.isComplete}>${this.button}</button>
          <a class="button" href=${hashOf(this.#above)}>Discard</a></div>
      </form>`;
  }

  async #submit() {
    const { values, errors } = this.draft.read();
    this.errors = errors;
    this.error = this.conflict = undefined;
    if (errors.length === 0) {
      const given = Object.entries(values).filter(([, found]) => found !== null);
      const version = this.isDecision ? this.found?.version : undefined;
      this.attempt ??= write("POST", this.path, { body: { ...this.named, ...Object.fromEntries(given) }, version });
      this.sending = true;
      this.page.changed();
      try {
        this.#done(await send(this.attempt));
      } catch (error) {
        this.error = error;
        this.errors = error.problem?.errors ?? [];
        if (!mayResend(error)) this.attempt = undefined;
        if (this.isDecision && isConflict(error)) Object.assign(this, { conflict: error.problem, found: error.problem.current });
      }
      // The version that a decision is about stays on the screen.
      if (this.found && !this.isDecision) await this.look().catch(() => {});
      this.sending = false;
    }
    this.page.changed();
    if (this.errors.length) this.page.focus('[aria-invalid="true"]');
    else if (this.error) this.page.focus('[role="alert"]');
  }

  #done({ status, headers, body }) {
    this.made = body;
    if (this.isDecision) {
      this.page.leaveNotes([this.#decided(body), ...notes(headers)]);
      this.page.go(hashOf(parentOf(this.path)));
      return;
    }
    const path = `${this.path}/${body.id}`;
    const place = this.page.doc.place(path);
    if (body.id && place?.operations.get && this.page.doc.shapeOf(place) === "object") {
      this.page.leaveNotes([MADE[status] ?? "It already exists; this is it.", ...notes(headers)]);
      this.page.go(hashOf(path));
    }
  }

  /** What a decision led to: a version of the object or, as its only member says, another object or none. */
  #decided(body) {
    if (body.version !== undefined) return `Done. This is version ${body.version}.`;
    const [[name, other]] = Object.entries(body);
    const kind = label(name).toLowerCase();
    if (other === null) return `Done. There was no ${kind} to make.`;
    return html`Done. This made the ${kind} <a href=${hashOf(this.page.doc.pathOfId(other.id))}>${titleOf(other)}</a>.`;
  }

  /** Shows a result that has no page of its own. Some of it, such as a key, is shown only once. */
  #result() {
    const { made, page } = this;
    const secret = typeof made.key === "string" && this.path === "/api-keys" ? made.key : undefined;
    const fields = page.doc.answerFields(this.place.operations.post).filter(({ name }) => name in made && !(secret && name === "key"));
    return html`<div class="notice good" role="status"><p>Done.</p>
        ${secret ? html`<p>Copy the key now; it is not shown again:</p><p><code class="secret" data-secret>${secret}</code></p>` : nothing}</div>
      <div class="card">${fieldsOf(page.doc, fields, made)}</div>
      <p class="bar"><a class="button primary" href=${hashOf(this.#above)}>Back</a></p>`;
  }
}
