// Reads the schemas of the OpenAPI document: the fields of an object, without references and unions.

export class Schemas {
  constructor(json) {
    this.json = json;
  }

  /** The fields of a schema: the required ones in the document's order, then the others by name. */
  fields(name) {
    const schema = this.#whole(this.named(name));
    const required = schema.required ?? [];
    const others = Object.keys(schema.properties ?? {}).filter((key) => !required.includes(key));
    const names = [...required, ...others.sort((a, b) => (startFirst(a) < startFirst(b) ? -1 : 1))];
    const known = names.filter((key) => schema.properties[key]);
    return known.map((key) => ({
      ...this.field(key, schema.properties[key]),
      required: required.includes(key),
    }));
  }

  /** A field by its name and schema. */
  field(name, schema) {
    const plain = this.#plain(schema);
    const { type, format, description = "" } = plain;
    const isLong = /\d,\d{3} characters/.test(description);
    return {
      name,
      type,
      format,
      description,
      enum: plain.enum,
      nullable: plain.nullable,
      setOnce: plain["x-set-once"] === true,
      readOnly: plain.readOnly === true,
      group: plain["x-merge-group"],
      of: plain.ref?.endsWith("Id") ? plain.ref.slice(0, -2) : undefined,
      members: plain.type === "object" && plain.ref !== "By" ? plain.ref : undefined,
      items: plain.items?.$ref === undefined ? undefined : nameOf(plain.items),
      isLong,
      // An author is short.
      isLarge: isLong || (["array", "object"].includes(type) && plain.ref !== "By"),
      isMoney: /minor unit/.test(description),
      // Another system's number for something: digits, not a quantity.
      isNumericId: type === "integer" && /\bid of\b/.test(description),
      isTimeLeft: /_remaining_ms$/.test(name),
    };
  }

  /** A schema with references, unions with null and lists of types resolved. */
  #plain(schema) {
    if (schema.$ref !== undefined) {
      const { $ref, ...own } = schema;
      return { ref: nameOf(schema), ...this.#plain(this.target(schema)), ...own };
    }
    if (schema.oneOf !== undefined) {
      const { oneOf, ...own } = schema;
      const some = oneOf.find((option) => option.type !== "null") ?? {};
      return { ...this.#plain(some), ...own, nullable: oneOf.length > 1 };
    }
    if (Array.isArray(schema.type)) {
      return { ...schema, type: schema.type.find((type) => type !== "null"), nullable: schema.type.includes("null") };
    }
    return schema;
  }

  /** A schema merged with the schemas that it is composed of. */
  #whole(schema) {
    if (schema.$ref !== undefined) return this.#whole(this.target(schema));
    const parts = (schema.allOf ?? []).map((part) => this.#whole(part));
    return {
      required: [...parts.flatMap((part) => part.required ?? []), ...(schema.required ?? [])],
      properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties),
    };
  }

  /** A schema by its name. */
  named(name) {
    return this.json.components.schemas[name] ?? {};
  }

  /** What a reference refers to. */
  target(object) {
    if (object.$ref === undefined) return object;
    return object.$ref.split("/").slice(1).reduce((found, key) => found[key], this.json);
  }
}

/** The name of the schema that is referred to. */
export const nameOf = (schema) => schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1);

/** By this name, a start is sorted before its end. */
const startFirst = (name) => name.replace(/_end$/, "_start~");
