// Force, for admins: overwrites the current version with a reason, after a preview of what is lost.

import { html, nothing } from "./lit-html.js";
import { send, write } from "./api.js";
import { differences, failure } from "./parts.js";

export class ForcePanel {
  reason = "";

  /** `pending` is the refused save; `submit` sends the forced one. */
  constructor({ page, path, pending, submit }) {
    Object.assign(this, { page, path, pending, submit });
  }

  template() {
    const typed = (event) => {
      this.reason = event.target.value;
      this.page.changed();
    };
    const look = (event) => {
      event.preventDefault();
      this.#look();
    };
    return html`<details class="force card" ?open=${this.seen !== undefined || this.error !== undefined}>
      <summary>Force my change (admins)</summary>
      <p>Writes your change over the current version, whatever else changed. All other rules still apply. The reason and everything that is
        overwritten go to the audit log, under your name.</p>
      <form @submit=${look}>
        <div class="field wide"><label for="force-reason">Reason</label>
          <input id="force-reason" name="reason" maxlength="500" required autocomplete="off" .value=${this.reason} @input=${typed}></div>
        <div class="bar"><button name="preview" ?disabled=${this.reason.trim() === ""}>See what it would overwrite</button></div>
      </form>
      ${failure(this.error)}
      ${this.seen ? this.#preview() : nothing}
    </details>`;
  }

  #preview() {
    const { would_overwrite: overwritten, would_refuse: refused, current_version: version } = this.seen;
    if (refused) {
      return html`<div class="preview notice bad" role="alert" data-code=${refused.code}><p>At version ${version} this would be refused: ${refused.detail}</p></div>`;
    }
    return html`<div class="preview" role="status" aria-label="What would be overwritten">
      ${overwritten.length
        ? html`<p>At version ${version} this would overwrite:</p>${differences(overwritten)}`
        : html`<p>At version ${version} this would overwrite no change by others.</p>`}
      <div class="bar"><button class="danger primary" name="force" ?disabled=${this.reason.trim() === ""} @click=${() => this.#force()}>Force it, overwriting ${overwritten.length === 1 ? "1 field" : `${overwritten.length} fields`}</button></div>
    </div>`;
  }

  #write(method, path, reason) {
    const { patch, base } = this.pending;
    return write(method, path, { body: patch, version: base.version, query: { force: "true" }, reason });
  }

  async #look() {
    this.error = this.seen = undefined;
    try {
      this.seen = (await send(this.#write("POST", `${this.path}/preview`))).body;
    } catch (error) {
      this.error = error;
    }
    this.page.changed();
    this.page.focus('[name="force"]');
  }

  #force() {
    this.submit({ ...this.pending, attempt: this.#write("PATCH", this.path, this.reason) });
  }
}
