// What an object's fields tell about its state: how much time is left, whether it waits, and whether workers go on with it.

import { Schemas } from "./schema.js";

/** The status of what waits until somebody resolves it. */
const PENDING = "pending";
/** The status of what was deleted and stays readable. */
const DELETED = "deleted";
/** Says when a worker goes on with an object. Without it the object rests. */
const NEXT = "next_check_at";

/** The part of the document that says it. */
export class States {
  constructor(json) {
    this.schemas = new Schemas(json);
  }

  /** The fields of a schema: the required ones in the document's order, then the others by name. */
  fields(name) {
    return this.schemas.fields(name);
  }

  /** An object that was read at `clock`, with the time that it has left now, or its age if it is pending. */
  aged(entity, object, clock) {
    const since = performance.now() - clock.readAt;
    const left = (name) => Math.max(0, object[name] - since);
    const aged = { ...object, ...Object.fromEntries(this.timesLeft(entity).map((name) => [name, left(name)])) };
    if (this.isPending(entity, object)) aged.age = Math.max(0, clock.serverTime + since - Date.parse(object.created_at));
    return aged;
  }

  /** The fields of an object's schema. The age of what can be pending comes first: it is what people look for. */
  agedFields(entity) {
    return [...(this.canPend(entity) ? [{ name: "age", type: "integer", isAge: true }] : []), ...this.fields(entity)];
  }

  /** Whether objects of this schema wait until somebody resolves them, as reservations do. */
  canPend(entity) {
    return this.fields(entity).some((field) => field.name === "status" && field.enum?.includes(PENDING));
  }

  isPending(entity, object) {
    return object.status === PENDING && this.canPend(entity);
  }

  /** Whether the object was deleted. Most cannot be read any more; servers can. */
  isDeleted(object) {
    return object.status === DELETED;
  }

  /** Whether workers change objects of this schema, as they do with servers. */
  isWorkedOn(entity) {
    return this.fields(entity).some(({ name }) => name === NEXT);
  }

  /** Whether an object changes by itself, so that a page about it must read again. */
  isUnsettled(entity, object) {
    return this.isPending(entity, object) || (this.isWorkedOn(entity) && Boolean(object[NEXT]));
  }

  /** The names of the fields that say how much time is left. */
  timesLeft(entity) {
    return this.fields(entity).filter(({ isTimeLeft }) => isTimeLeft).map(({ name }) => name);
  }
}
