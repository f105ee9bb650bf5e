// Force on something that a program holds, for admins: it is taken away with a reason. Shows who holds it meanwhile.

import { html, nothing } from "./lit-html.js";
import { CreateView } from "./create.js";
import { Poll } from "./poll.js";
import { pollState } from "./parts.js";
import { label } from "./words.js";

export class ForceItemView extends CreateView {
  constructor(page, route) {
    super(page, route);
    this.button = label(this.path.split("/").pop());
    this.style = "danger primary";
    this.poll = new Poll(() => this.look(), page.changed);
  }

  close() {
    this.poll.close();
  }

  get isComplete() {
    return this.draft.texts.get("reason").trim() !== "";
  }

  about() {
    if (this.made) return nothing;
    return html`${this.asItIs(pollState(this.lookError))}
      <p>Takes it from its holder at once, whatever the holder does. The reason goes to the audit log, under your name.</p>`;
  }
}
