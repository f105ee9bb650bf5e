// Reads the OpenAPI document: the collections, their paths and their fields. The console knows nothing else about them,
// so a new collection appears as soon as the server has it.

import { at, put } from "./patch.js";
import { lastOf, parentOf } from "./route.js";
import { nameOf } from "./schema.js";
import { States } from "./states.js";
import { label, splitSummary } from "./words.js";

const PREFIX = "/v1";
const PAGING = ["sort", "limit", "cursor", "after", "last", "wait_ms"];
const OWN = "application/json";
/** Actions that only one status allows. */
const ONLY_IN = { resolve: "pending_reconciliation" };

export class ApiDocument extends States {
  #tops;

  constructor(json) {
    super(json);
    this.json = json;
    this.places = Object.entries(json.paths)
      .filter(([path]) => path.startsWith(`${PREFIX}/`))
      .map(([path, operations]) => ({ path: path.slice(PREFIX.length), operations }));
  }

  /** The documented place of a path such as /plans/pln_1. Literal segments win over parameters. */
  place(path) {
    const parts = path.split("/");
    const fits = this.places.filter((place) => {
      const wanted = place.path.split("/");
      return wanted.length === parts.length && wanted.every((part, n) => part.startsWith("{") || part === parts[n]);
    });
    const parameters = (place) => place.path.split("{").length;
    return fits.sort((a, b) => parameters(a) - parameters(b))[0];
  }

  /** The shape of a place: list, periods (a list whose items are split into parts), events, history, timeline, version,
   * object (also one without an ID, such as a workspace's credits), table (an answer that contains a list) or other. */
  shapeOf(place) {
    const answer = this.#answer(place);
    if (answer === undefined) return "other";
    if (place.path.endsWith("/history")) return "history";
    if (place.path.endsWith("/timeline")) return "timeline";
    if (place.path.endsWith("/versions/{version}")) return "version";
    if (this.itemOf(place) === "Event") return "events";
    if (this.itemOf(place) !== undefined) return this.partsOf(place) === undefined ? "list" : "periods";
    if (place.path.endsWith("}") || this.rowsOf(place) === undefined) return "object";
    // A table with lists or actions of its own, such as a workspace's balance, needs a page.
    return this.places.some(({ path }) => path.startsWith(`${place.path}/`)) ? "object" : "table";
  }

  #answer(place) {
    const schema = place.operations.get?.responses["200"]?.content?.[OWN]?.schema;
    return schema?.$ref === undefined ? undefined : nameOf(schema);
  }

  /** The name of the schema of a list's items. */
  itemOf(place) {
    const page = this.#answer(place);
    if (page === undefined || !page.endsWith("Page")) return undefined;
    return nameOf(this.schemas.named(page).properties.items.items);
  }

  /** The name of an object's schema. */
  entityOf(place) {
    return this.#answer(place);
  }

  /** The name and the item schema of the list in an answer without pages. */
  rowsOf(place) {
    const lists = this.fields(this.#answer(place)).filter((field) => field.type === "array" && field.items);
    return lists.length === 1 ? { name: lists[0].name, item: lists[0].items } : undefined;
  }

  /** The field that splits a list's items into parts, such as a period's segments. An item has a start and an end; a part
   * has a start and lasts until the next one. */
  partsOf(list) {
    const fields = this.fields(this.itemOf(list));
    const has = (known, name) => known.some((field) => field.name === name);
    if (!has(fields, "start") || !has(fields, "end")) return undefined;
    return fields.find(({ items }) => items !== undefined && has(this.fields(items), "start"));
  }

  /** The top-level lists, in the order of the document's tags. A collection is a list whose objects have a history. */
  tops() {
    return (this.#tops ??= this.#findTops());
  }

  #findTops() {
    const tops = this.places.filter((place) => /^\/[^/]+$/.test(place.path) && ["list", "events"].includes(this.shapeOf(place)));
    const tagged = tops.map((place) => {
      const tag = place.operations.get.tags[0];
      const isCollection = this.places.some((other) => new RegExp(`^${place.path}/\\{[^/]+\\}/history$`).test(other.path));
      const title = isCollection ? tag : label(place.path);
      const pattern = this.json.components.schemas[`${this.itemOf(place)}Id`]?.pattern;
      const ids = isCollection && pattern !== undefined ? new RegExp(pattern) : undefined;
      return { place, title, isCollection, ids, role: place.operations.get["x-role"] };
    });
    const order = this.json.tags.map((tag) => tag.name);
    return tagged.sort((a, b) => order.indexOf(a.place.operations.get.tags[0]) - order.indexOf(b.place.operations.get.tags[0]));
  }

  /** The lists, tables and objects directly below an object's path. */
  belowOf(place) {
    const below = this.places.filter((other) => {
      const rest = other.path.startsWith(`${place.path}/`) ? other.path.slice(place.path.length + 1) : "";
      return /^[^/{]+$/.test(rest) && ["list", "periods", "timeline", "table", "object"].includes(this.shapeOf(other));
    });
    // Logs come last, because they are long.
    const isLog = (other) => this.fields(this.itemOf(other) ?? "").some(({ name }) => name === "request_id");
    return [...below.filter((other) => !isLog(other)), ...below.filter(isLog)]
      .map((other) => ({ place: other, name: other.path.slice(place.path.length + 1) }));
  }

  /** The place of a list's item: below the list or, such as /reservations/{id}, at the top. Undefined if there is none. */
  itemPlace(list) {
    const below = (path) => this.places.find((other) => new RegExp(`^${escaped(path)}/\\{[^/]+\\}$`).test(other.path));
    const atTop = below(list.path.slice(list.path.lastIndexOf("/")));
    return below(list.path) ?? (atTop && this.entityOf(atTop) === this.itemOf(list) ? atTop : undefined);
  }

  /** The fields that name an item beside the one in its path, such as a lock's scope and function. */
  namesOf(item) {
    return item.operations.get === undefined ? [] : this.#query(item).map(({ name }) => name);
  }

  /** The same of the item that an action is about. */
  namesAbove(action) {
    const item = this.places.find(({ path }) => path.endsWith("}") && path === parentOf(action.path));
    return item === undefined ? [] : this.namesOf(item);
  }

  /** Whether a path can be shown on a page of its own: its path alone must name it. */
  hasPage(place) {
    return place?.operations.get !== undefined && (!place.path.endsWith("}") || this.namesOf(place).length === 0);
  }

  /** An item's actions beside reading and changing it, such as POST …/{id}/reverse. A preview does nothing. A redaction
   * names paths and a version, which no form here does. An item without a page, such as a lock, is held by a program;
   * people can only force it. */
  actionsOf(item) {
    const isOffered = (action) => this.namesOf(item).length === 0 || this.isForce(action);
    return this.places.filter((other) => other.path.startsWith(`${item.path}/`) && other.operations.post && !other.operations.get
      && !/\/(preview|redact)$/.test(other.path) && !other.path.slice(item.path.length + 1).includes("/") && isOffered(other));
  }

  /** The actions on an item that its status allows, as far as the status tells. */
  actionsNow(place, entity, object) {
    if (this.isDeleted(object) || (this.canPend(entity) && !this.isPending(entity, object))) return [];
    return this.actionsOf(place).filter((action) => (ONLY_IN[lastOf(action.path)] ?? object.status) === object.status);
  }

  /** Whether a write must name the version that it was computed from. */
  namesVersion(operation) {
    // Other writes may name one, with a parameter of the same name.
    return (operation.parameters ?? []).some(({ $ref }) => $ref?.endsWith("/IfMatch"));
  }

  /** Whether an action is a force on what a program holds: only admins may, and it asks for a reason. */
  isForce(action) {
    return this.namesAbove(action).length > 0 && action.operations.post["x-role"] === "admin" && this.bodyFields(action, "post").some(({ name, required }) => name === "reason" && required);
  }

  /** The top-level lists with a filter for objects of this schema, such as bookings by bookable_id. */
  referringTo(entity) {
    const filter = `${kindOf(entity)}_id`;
    const lists = this.tops().filter(({ place }) => this.filters(place).some((field) => field.name === filter));
    return lists.map((top) => ({ ...top, filter }));
  }

  /** The previews of what is going to be made for objects of this schema, such as a subscription's next invoices. */
  previewsAbout(entity) {
    const wanted = [`${kindOf(entity)}_id`, "as_of"];
    const names = (place) => this.bodyFields(place, "post").map(({ name }) => name);
    return this.places.filter((place) => /^[^{]+\/preview$/.test(place.path) && wanted.every((name) => names(place).includes(name)));
  }

  /** The page of an ID that a person typed; undefined if there is none. Beside objects with a history, records have pages,
   * such as /reservations/trf_1. */
  pageOfId(id) {
    const isRecord = (place) => /^\/[^/]+\/\{[^/]+\}$/.test(place.path) && this.shapeOf(place) === "object" && this.hasPage(place) && this.#prefixOf(place) === prefixIn(id);
    const record = prefixIn(id) && this.places.find(isRecord);
    return this.pathOfId(id) ?? (record ? `${parentOf(record.path)}/${id}` : undefined);
  }

  /** "trf_" if the IDs of a place's objects begin so, as their schema tells in words. */
  #prefixOf(place) {
    return this.fields(this.entityOf(place)).find(({ name }) => name === "id")?.description.match(/`([a-z]+_)…`/)?.[1];
  }

  /** The path of a kind's collection. Kinds are named as in events: "subscription". */
  collectionOfKind(kind) {
    return this.tops().find(({ place, isCollection }) => isCollection && kindOf(this.itemOf(place)) === kind)?.place.path;
  }

  /** The path of the object with this id; undefined if no collection's id pattern fits. */
  pathOfId(id) {
    const top = this.tops().find(({ ids }) => ids?.test(id));
    return top === undefined ? undefined : `${top.place.path}/${id}`;
  }

  /** The filters of a list, completed with what its items' schema says about the same fields. */
  filters(list) {
    const item = new Map(this.fields(this.itemOf(list)).map((field) => [field.name, field]));
    return this.#query(list).filter(({ name }) => !PAGING.includes(name)).map((parameter) => {
      const field = this.schemas.field(parameter.name, parameter.schema);
      const known = item.get(parameter.name);
      return { ...field, description: parameter.description, enum: field.enum ?? known?.enum, of: known?.of };
    });
  }

  /** The sort orders of a list. */
  sorts(list) {
    return this.#query(list).find(({ name }) => name === "sort")?.schema.enum ?? [];
  }

  #query(place) {
    const parameters = place.operations.get.parameters ?? [];
    return parameters.map((parameter) => this.schemas.target(parameter)).filter((parameter) => parameter.in === "query");
  }

  /** The fields of an operation's answer; none if it has no schema of its own. */
  answerFields(operation) {
    const told = Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1].content?.[OWN]?.schema;
    return told?.$ref === undefined ? [] : this.fields(nameOf(told));
  }

  /** The fields of a request body, in the order of the answer's, large ones last. Empty if there is no body. */
  bodyFields(place, method) {
    const operation = place.operations[method];
    const body = operation.requestBody?.content[OWN].schema;
    if (body === undefined) return [];
    const stored = this.answerFields(operation);
    const rank = ({ name, isLarge }) => (isLarge ? stored.length : 0) + stored.findIndex((field) => field.name === name);
    return this.fields(nameOf(body))
      .filter((field) => field.name !== "version" && !(method === "patch" && field.setOnce))
      // A merge patch allows null for every field, which resets it to its default. The form allows an empty field only
      // if it can be null in the object.
      .map((field) => ({ ...field, nullable: (stored.find(({ name }) => name === field.name) ?? field).nullable }))
      .sort((a, b) => rank(a) - rank(b))
      .flatMap((field) => this.#leavesOf(field));
  }

  /** An object with known members is edited member by member, such as "limits/memory". */
  #leavesOf(field) {
    const members = field.members === undefined ? [] : this.fields(field.members);
    const parent = { name: field.name, required: field.required };
    return members.length === 0 ? [field] : members.map((member) => ({ ...member, name: `${field.name}/${member.name}`, required: field.required && member.required, parent }));
  }

  /** What an action is called on a button and on its page. */
  nameOf(action) {
    const [name] = splitSummary(action.operations.post.summary);
    return name === "Create" ? `New ${label(kindOf(this.itemOf(action))).toLowerCase()}` : name;
  }

  /** An object reduced to what these fields accept. For example, the amount of an invoice's line is computed. */
  writable(fields, object) {
    const kept = (field) => {
      const found = at(object, `/${field.name}`) ?? null;
      if (field.items === undefined || !Array.isArray(found)) return found;
      const names = this.fields(field.items).filter(({ readOnly }) => !readOnly).map(({ name }) => name);
      return found.map((item) => Object.fromEntries(names.filter((name) => name in item).map((name) => [name, item[name]])));
    };
    return fields.reduce((whole, field) => put(whole, `/${field.name}`, kept(field)), {});
  }
}

/** The beginning of an ID; undefined if it is none. */
const prefixIn = (id) => id.match(/^([a-z]+_)[0-9a-f]{32}$/)?.[1];

const escaped = (text) => text.replace(/[{}]/g, "\\$&");

/** "BookingPhase" → "booking_phase", as events and conflicts name a kind. */
export const kindOf = (entity) => entity.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
