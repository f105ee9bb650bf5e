// Signing in: an API key that the server accepts.

import { html } from "./lit-html.js";
import { read, Refused, send, write } from "./api.js";
import { failure } from "./parts.js";
import { session } from "./session.js";

export class SignIn {
  title = "Sign in";

  constructor(page) {
    this.page = page;
  }

  template() {
    const submit = (event) => {
      event.preventDefault();
      const form = new FormData(event.currentTarget);
      this.#submit(form.get("key").trim(), form.get("on_behalf_of").trim());
    };
    return html`<form class="card sign-in" @submit=${submit}>
      <h1 tabindex="-1">Sign in</h1>
      <p class="quiet">With an API key of this server. It stays in this browser tab until you sign out or close it.</p>
      ${failure(this.error)}
      <div class="field wide"><label for="key">API key</label>
        <input id="key" name="key" type="password" required autocomplete="off" spellcheck="false"></div>
      <div class="field wide"><label for="on_behalf_of">On behalf of <span class="quiet">(optional)</span></label>
        <input id="on_behalf_of" name="on_behalf_of" maxlength="200" autocomplete="off" aria-describedby="behalf-hint">
        <p class="hint" id="behalf-hint">Your name, if you share the key. It is recorded beside the key's in every change you make.</p></div>
      <div class="bar"><button class="primary" ?disabled=${this.sending}>Sign in</button></div>
    </form>`;
  }

  async #submit(key, onBehalfOf) {
    this.sending = true;
    this.error = undefined;
    session.signIn(key, onBehalfOf);
    try {
      await this.page.signedIn();
    } catch (error) {
      session.signOut();
      this.error = error;
    }
    this.sending = false;
    this.page.changed();
  }
}

/** What the session's key may do, beside reading. Throws the server's refusal of an invalid key. */
export async function readRights(doc) {
  const tops = doc.tops();
  await read(tops.find(({ isCollection }) => isCollection).place.path, { limit: 1 });
  const isAdmin = await isAllowed(() => read(tops.find(({ role }) => role === "admin").place.path, { limit: 1 }));
  return { isAdmin, canWrite: isAdmin || (await mayWrite(doc)) };
}

/** Whether a write is allowed. In doubt it is offered, and the server decides. */
function mayWrite(doc) {
  return isAllowed(() => send(write("POST", previewOfNothing(doc), { body: {} }))).catch(() => true);
}

/** The path of a preview that finds no object. It tells whether a key may write, also a key of one workspace. */
function previewOfNothing(doc) {
  const isPreview = ({ path, operations }) => path.endsWith("/preview") && operations.post["x-scoped-keys"];
  return doc.places.find(isPreview).path.replace(/\{[^}]+\}/g, "none");
}

async function isAllowed(ask) {
  try {
    await ask();
    return true;
  } catch (error) {
    if (error instanceof Refused && error.status === 403) return false;
    throw error;
  }
}
