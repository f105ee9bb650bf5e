// The page: the session, the view for the current address, and the frame around it.

import { html, nothing, render } from "./lit-html.js";
import { isReady, openApi } from "./api.js";
import { ApiDocument } from "./document.js";
import { CreateView } from "./create.js";
import { EditView } from "./edit.js";
import { EventsView } from "./events.js";
import { ForceItemView } from "./force_item.js";
import { HistoryView, VersionView } from "./history.js";
import { ListView } from "./list.js";
import { ObjectView } from "./object.js";
import { hashOf, parse } from "./route.js";
import { readRights, SignIn } from "./sign_in.js";
import { session } from "./session.js";
import { PeriodsView, TimelineView } from "./timeline.js";

const READY_EVERY_MS = 15000;
const READY = { true: "Ready", false: "Not ready", undefined: "No answer" };
const VIEWS = { list: ListView, events: EventsView, object: ObjectView, history: HistoryView, periods: PeriodsView, timeline: TimelineView, version: VersionView };

class Nowhere {
  title = "Not found";
  load() {}
  template() {
    return html`<h1 tabindex="-1">There is no such page</h1><p>The address may be mistyped. <a href="#">Go to the start page</a></p>`;
  }
}

/** The interface of the page for its views. */
const page = {
  doc: undefined,
  isAdmin: false,
  canWrite: false,
  /** Whether the session's key may use an operation. The server decides; this only spares people what it would refuse. */
  may: ({ "x-role": role }) => (role === "admin" ? page.isAdmin : role?.includes("viewer") || page.canWrite),
  /** Renders the page again with the next frame. */
  changed: () => {
    waiting ||= requestAnimationFrame(show);
  },
  go: (hash) => {
    if (location.hash === hash) route();
    else location.hash = hash;
  },
  focus: (selector) => requestAnimationFrame(() => document.querySelector(`main ${selector}`)?.focus()),
  /** Leaves notes about a finished write for the next view. */
  leaveNotes: (lines) => {
    notes = lines;
  },
  takeNotes: () => {
    const taken = notes;
    notes = undefined;
    return taken;
  },
  signedIn: async () => {
    page.doc ??= new ApiDocument(await openApi());
    Object.assign(page, await readRights(page.doc));
    // Signing in again continues where the user was.
    signInAgain = undefined;
    if (view instanceof SignIn) await route();
  },
};

let waiting = 0;
let notes;
let view = new SignIn(page);
let shown = "";
let ready = "asking";
/** Set when the key stopped working while a view was open. The view keeps its input. */
let signInAgain;

async function route() {
  if (session.key === "") return;
  if (view.isDirty && location.hash !== shown && !window.confirm("Leave this page? Your input is not saved.")) {
    history.replaceState(null, "", shown || location.pathname);
    return;
  }
  view.close?.();
  const { path, query } = parse(location.hash);
  const place = path === "" ? undefined : page.doc.place(path);
  if (path === "") {
    history.replaceState(null, "", hashOf(page.doc.tops()[0].place.path));
    return route();
  }
  shown = location.hash;
  const View = place === undefined ? Nowhere : viewOf(place, query);
  const next = new View(page, { path, place, query });
  view = next;
  page.changed();
  await next.load();
  if (view !== next) return;
  page.changed();
  requestAnimationFrame(() => {
    // A form can be filled in while what it is about is still loading. The keys must not go elsewhere.
    if (document.activeElement?.closest("form.card")) return;
    scrollTo(0, 0);
    document.querySelector("main h1")?.focus({ preventScroll: true });
  });
}

function viewOf(place, query) {
  const { post, patch } = place.operations;
  if (query.view === "new" && post) return page.doc.isForce(place) ? ForceItemView : CreateView;
  if (query.view === "edit" && patch) return EditView;
  return VIEWS[page.doc.shapeOf(place)] ?? Nowhere;
}

function signOut() {
  if (view.isDirty && !window.confirm("Sign out? Your input is not saved.")) return;
  view.close?.();
  session.signOut();
  signInAgain = undefined;
  page.isAdmin = page.canWrite = false;
  notes = undefined;
  view = new SignIn(page);
  page.changed();
}

function jump(event) {
  event.preventDefault();
  const input = event.currentTarget.elements.id;
  const path = page.doc.pageOfId(input.value.trim());
  input.setCustomValidity(path === undefined ? "This is not an ID of an object. IDs look like sub_0193f0c0…" : "");
  if (path === undefined) return input.reportValidity();
  input.value = "";
  page.go(hashOf(path));
}

function show() {
  waiting = 0;
  const signedIn = !(view instanceof SignIn);
  document.title = `${view.title} · Ifmatch`;
  render(html`
    <a class="skip" href="#main" @click=${skip}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#">Ifmatch</a>
      ${signedIn ? html`<form class="jump" role="search" @submit=${jump}>
        <label class="hidden" for="jump">Go to an ID</label>
        <input id="jump" name="id" placeholder="Go to an ID: sub_…" autocomplete="off" spellcheck="false" @input=${(event) => event.target.setCustomValidity("")}></form>` : html`<span class="jump"></span>`}
      <span class="ready ${ready}" role="status"><span class="hidden">Server: </span>${READY[ready] ?? "…"}</span>
      ${signedIn ? html`${session.onBehalfOf ? html`<span class="who" title="On behalf of">${session.onBehalfOf}</span>` : nothing}
        <button class="small" name="sign-out" @click=${signOut}>Sign out</button>` : nothing}
    </header>
    <div class="frame ${signedIn ? "" : "alone"}">
      ${signedIn ? navigation() : nothing}
      <main id="main" tabindex="-1">${signInAgain ? signInAgain.template() : nothing}${view.template()}</main>
    </div>`, document.body);
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function navigation() {
  const tops = page.doc.tops().filter(({ role }) => role !== "admin" || page.isAdmin);
  const { path } = parse(location.hash);
  const link = ({ place, title }) => html`<li><a href=${hashOf(place.path)} aria-current=${path === place.path || path.startsWith(`${place.path}/`) ? "page" : "false"}>${title}</a></li>`;
  return html`<nav class="side" aria-label="Main">
    <ul>${tops.filter(({ isCollection }) => isCollection).map(link)}</ul>
    <ul>${tops.filter(({ isCollection }) => !isCollection).map(link)}<li><a href="docs" target="_blank" rel="noopener">API documentation</a></li></ul>
  </nav>`;
}

async function askReady() {
  ready = await isReady();
  page.changed();
  setTimeout(askReady, READY_EVERY_MS);
}

addEventListener("hashchange", route);
document.addEventListener("unauthenticated", () => {
  if (!(view instanceof SignIn)) signInAgain ??= new SignIn(page);
  page.changed();
});
addEventListener("beforeunload", (event) => {
  if (view.isDirty) event.preventDefault();
});

show();
askReady();
if (session.key !== "") {
  try {
    await page.signedIn();
  } catch (error) {
    view.error = error;
    session.signOut();
    page.changed();
  }
}
