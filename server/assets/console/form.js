// A form for the fields of a request body. Input is kept as text and converted to values when it is sent.

import { html, nothing } from "./lit-html.js";
import { integer, parse, stringify } from "./exact.js";
import { at, equal, keysOf, put } from "./patch.js";
import { label, money } from "./words.js";

const isJson = (field) => field.isLarge && !field.isLong;

function textOf(field, found) {
  if (found === null || found === undefined) return "";
  return isJson(field) ? stringify(found, 2) : String(found);
}

/** The edited fields of an object, or of a new one. */
export class Draft {
  /** `base` is the loaded object; undefined for a new one, which may have some values beforehand. */
  constructor(fields, base, known = {}) {
    this.fields = fields;
    this.base = base;
    this.texts = new Map(fields.map((field) => [field.name, textOf(field, at(base ?? known, `/${field.name}`))]));
    this.given = new Map(this.texts);
  }

  /** Fills in values as if they had been typed. */
  fill(values) {
    for (const field of this.fields) {
      const found = at(values, `/${field.name}`);
      if (found !== undefined) this.texts.set(field.name, textOf(field, found));
    }
  }

  get isDirty() {
    return this.fields.some(({ name }) => this.texts.get(name) !== this.given.get(name));
  }

  /** The values, and an error for each invalid text. Untouched fields keep their loaded value. */
  read() {
    // An object that must be there is, even without members.
    const parents = this.fields.filter(({ parent }) => parent?.required).map(({ parent }) => [parent.name, {}]);
    let values = this.base === undefined ? Object.fromEntries(parents) : {};
    const errors = [];
    for (const field of this.fields) {
      const path = `/${field.name}`;
      const text = this.texts.get(field.name);
      const before = at(this.base, path);
      // A new object has defaults for what is left empty.
      if (this.base === undefined && text === "") continue;
      try {
        values = put(values, path, text === this.given.get(field.name) && this.base !== undefined ? before ?? null : valueOf(field, text, before));
      } catch (error) {
        errors.push({ path, message: error.message });
      }
    }
    return { values, errors };
  }
}

function valueOf(field, text, before) {
  if (text === "") return field.type === "string" && !field.enum && !field.format && !field.nullable ? "" : null;
  if (field.type === "integer") {
    if (!/^-?\d+$/.test(text.trim())) throw new Error("must be a whole number");
    return integer(text.trim());
  }
  if (field.type === "boolean") return text === "true";
  if (isJson(field)) {
    let found;
    try {
      found = parse(text);
    } catch (error) {
      throw new Error(`is not JSON: ${error.message}`);
    }
    return equal(found, before) ? before : found;
  }
  return text;
}

/** The inputs of a draft. `errors` are [{ path, message }]; `changed` is called on each input. */
export function inputs(draft, errors, changed) {
  return draft.fields.map((field) => {
    const { name } = field;
    const wrong = errors.filter(({ path }) => path === `/${name}` || path.startsWith(`/${name}/`));
    const error = wrong.map(({ path, message }) => (path === `/${name}` ? message : `${label(keysOf(path).slice(1).join("/"))}: ${message}`));
    const typed = (event) => {
      draft.texts.set(name, event.target.value);
      changed();
    };
    const isChanged = draft.base !== undefined && draft.texts.get(name) !== draft.given.get(name);
    return html`<div class="field ${field.isLarge ? "wide" : ""}">
      <label for="field-${name}">${label(name)}${field.required && !draft.base ? html` <span class="required">required</span>` : nothing}
        ${isChanged ? html`<span class="changed">changed</span>` : nothing}</label>
      ${input(field, draft, typed, error.length > 0)}
      <p class="hint" id="hint-${name}">${field.isMoney ? moneyHint(draft, name) : nothing}${field.description.replaceAll("`", "")}</p>
      ${error.length ? html`<p class="error" id="error-${name}" role="alert">${error.join("; ")}</p>` : nothing}
    </div>`;
  });
}

function input(field, draft, typed, isWrong) {
  const { name } = field;
  const text = draft.texts.get(name);
  const about = `hint-${name}${isWrong ? ` error-${name}` : ""}`;
  const invalid = isWrong ? "true" : "false";
  const options = field.type === "boolean" ? ["true", "false"] : field.enum;
  if (options) {
    const words = { true: "Yes", false: "No" };
    const without = draft.base === undefined || text === "" || field.nullable;
    return html`<select id="field-${name}" name=${name} aria-describedby=${about} aria-invalid=${invalid} @change=${typed}>
      ${without ? html`<option value="" ?selected=${text === ""}>${field.required ? "Choose…" : "Default"}</option>` : nothing}
      ${options.map((option) => html`<option value=${option} .selected=${option === text}>${words[option] ?? option.replaceAll("_", " ")}</option>`)}
    </select>`;
  }
  if (field.isLarge) {
    return html`<textarea id="field-${name}" name=${name} rows="5" class=${isJson(field) ? "code" : ""} placeholder=${isJson(field) ? (field.type === "array" ? "[…]" : "{…}") : ""} spellcheck=${isJson(field) ? "false" : "true"}
      aria-describedby=${about} aria-invalid=${invalid} .value=${text} @input=${typed}></textarea>`;
  }
  return html`<input id="field-${name}" name=${name} type=${field.format === "date" ? "date" : "text"} autocomplete="off"
    inputmode=${field.type === "integer" ? "numeric" : "text"} placeholder=${field.format === "date-time" ? "2026-11-22T01:06:00Z" : ""}
    aria-describedby=${about} aria-invalid=${invalid} .value=${text} @input=${typed}>`;
}

function moneyHint(draft, name) {
  const currency = draft.texts.get("currency") ?? draft.base?.currency;
  const text = draft.texts.get(name);
  return currency && /^-?\d+$/.test(text) ? html`<strong>${money(integer(text), currency)}</strong> · ` : nothing;
}
