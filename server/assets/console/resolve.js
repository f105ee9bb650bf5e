// A version conflict: their changes, my changes, and the choice between them.

import { html, nothing } from "./lit-html.js";
import { mayResend, NoAnswer, write } from "./api.js";
import { failure, raw, when } from "./parts.js";
import { ForcePanel } from "./force.js";
import { isDecided, isPlainMerge, patchOf, resolved, rowsOf, verdictText } from "./conflict.js";
import { byText, label } from "./words.js";

export class ConflictPanel {
  /** `pending` is the refused save. `submit` sends a new one, `rebase` goes back to the form, `discard` drops the edit. */
  constructor({ page, path, problem, pending, submit, rebase, discard }) {
    Object.assign(this, { page, path, problem, pending, submit, rebase, discard });
    this.rows = rowsOf(problem, pending.base, pending.mine);
    if (page.isAdmin) this.force = new ForcePanel({ page, path, pending, submit });
  }

  /** Called when a resolution was refused for another reason than a newer version. */
  refused(error, pending) {
    this.error = error;
    this.again = mayResend(error) ? pending : undefined;
    this.page.focus('[role="alert"]');
  }

  template() {
    const { problem, rows, force } = this;
    const { verdict } = problem.merge;
    const decided = isDecided(rows);
    const nothingLeft = decided && Object.keys(patchOf(problem.current, rows)).length === 0;
    return html`<section class="conflict" aria-labelledby="conflict" data-verdict=${verdict}>
      <div class="notice bad" role="alert">
        <h2 id="conflict" tabindex="-1">Somebody else saved first</h2>
        <p>You edited version <strong>${problem.expected_version}</strong>; it is at version <strong data-current>${problem.current_version}</strong> now.
          Nothing of yours was saved yet, and nothing of theirs was touched.</p>
        <p><strong>${verdictText(verdict)}</strong></p>
      </div>
      ${failure(this.error)}
      ${this.error instanceof NoAnswer ? html`<p>It is unknown whether this was saved. Sending it again is safe: it is applied at most once.</p>` : nothing}
      <div class="rows">${rows.map((row, index) => this.#row(row, index))}</div>
      <div class="bar">
        ${this.again
          ? html`<button class="primary" @click=${() => this.submit(this.again)}>Send the same again</button>`
          : nothingLeft
            ? html`<button class="primary" @click=${this.discard}>Leave it as it is now</button>`
            : html`<button class="primary" name="resolve" ?disabled=${!decided} @click=${() => this.#send()}>${decided ? `Save on top of version ${problem.current_version}` : "Choose first"}</button>`}
        <button ?disabled=${!decided} @click=${() => this.rebase(problem.current, resolved(problem.current, rows))}>Edit further in the form</button>
        <button class="danger" @click=${() => this.#discard()}>Discard mine</button>
      </div>
      ${force ? force.template() : nothing}
      <p class="detail">Request ID <code>${problem.request_id}</code>, conflict <code>${problem.conflict_id}</code></p>
    </section>`;
  }

  #row(row, index) {
    const { path, change, isMine, asks } = row;
    const pick = (choice) => () => {
      row.choice = choice;
      this.page.changed();
    };
    const side = (choice, title, found) => html`<label class="side ${row.choice === choice ? "chosen" : ""}">
      <span class="title"><input type="radio" name="choice-${index}" value=${choice} .checked=${row.choice === choice} @change=${pick(choice)}> ${title}</span>
      ${raw(found)}</label>`;
    const theirs = change
      ? html`${byText(change.by)}, version ${change.version}, ${when(change.at)}${change.by.forced ? " (forced)" : ""}`
      : html`unchanged`;
    return html`<fieldset class="row ${asks ? "asks" : ""}" data-path=${path}>
      <legend>${label(path)} <span class="quiet">${asks ? "needs a decision" : isMine ? "changed by you" : "changed by them"}</span></legend>
      <div class="side"><span class="title">Before</span>${raw(row.base)}</div>
      ${side("theirs", html`Theirs <span class="quiet">${theirs}</span>`, row.theirs)}
      ${side("mine", html`Mine <span class="quiet">${isMine ? "" : "as it was when I opened it"}</span>`, row.mine)}
    </fieldset>`;
  }

  #send() {
    const { problem, rows, pending, path } = this;
    this.error = undefined;
    if (isPlainMerge(problem, rows)) {
      // The server's merge also works if another writer saves a different field at this moment.
      const attempt = write("PATCH", path, { body: pending.patch, version: problem.expected_version, query: { on_conflict: "merge" } });
      this.submit({ ...pending, attempt });
      return;
    }
    const { current, current_version } = problem;
    const patch = patchOf(current, rows);
    const attempt = write("PATCH", path, { body: patch, version: current_version });
    this.submit({ attempt, patch, base: current, mine: resolved(current, rows) });
  }

  #discard() {
    if (window.confirm("Discard your input? The object stays as it is now.")) this.discard();
  }
}
