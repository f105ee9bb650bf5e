// Force on something that a program holds, for admins: it is taken away with a reason. Shows who holds it meanwhile.

import { html, nothing } from "./lit-html.js";
import { read } from "./api.js";
import { CreateView } from "./create.js";
import { Poll } from "./poll.js";
import { failure, fieldsOf, pollState } from "./parts.js";
import { parentOf } from "./route.js";
import { label } from "./words.js";

export class ForceItemView extends CreateView {
  constructor(page, route) {
    super(page, route);
    this.item = page.doc.place(parentOf(this.path));
    this.button = label(this.path.split("/").pop());
    this.style = "danger primary";
    this.poll = new Poll(() => this.#look(), page.changed);
  }

  async load() {
    await this.#look().catch(() => {});
  }

  close() {
    this.poll.close();
  }

  get isComplete() {
    return this.draft.texts.get("reason").trim() !== "";
  }

  async #look() {
    try {
      this.held = (await read(parentOf(this.path), this.named)).body;
      this.readAt = performance.now();
      this.lookError = undefined;
    } catch (error) {
      this.lookError = error;
      throw error;
    } finally {
      this.page.changed();
    }
  }

  about() {
    if (this.made) return nothing;
    const { doc } = this.page;
    const entity = doc.entityOf(this.item);
    return html`<section class="card" aria-label="As it is now">
        <header class="head"><h2>As it is now</h2>${pollState(this.lookError)}</header>
        ${this.held === undefined ? failure(this.lookError) : fieldsOf(doc, doc.fields(entity), doc.aged(entity, this.held, this.readAt))}
      </section>
      <p>Takes it from its holder at once, whatever the holder does. The reason goes to the audit log, under your name.</p>`;
  }
}
