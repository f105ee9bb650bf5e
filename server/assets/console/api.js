// Requests. A write is built first (bytes and Idempotency-Key) and then sent, so that it can be sent again unchanged.

import { parse, stringify } from "./exact.js";
import { headerOf, session } from "./session.js";

/** The server refused the request; `problem` has the reason. */
export class Refused extends Error {
  constructor(status, headers, problem) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
    Object.assign(this, { status, headers, problem });
  }
}

/** There was no answer. A write may or may not have been applied. */
export class NoAnswer extends Error {}

const addressOf = (path, query = {}) => {
  const address = new URL(`v1${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  return address;
};

async function answered(address, request) {
  let response, text;
  try {
    response = await fetch(address, { cache: "no-store", ...request });
    text = await response.text();
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new NoAnswer("The server did not answer.", { cause });
  }
  let body = {};
  try {
    body = text === "" ? {} : parse(text);
  } catch {
    // The answer comes from a proxy.
    body = { detail: `The answer (status ${response.status}) is not from Ifmatch.` };
  }
  if (!response.ok) {
    // After an error from a proxy it is unknown whether the server applied the request.
    if (response.status >= 500 && body.code === undefined) throw new NoAnswer(body.detail);
    if (response.status === 401) document.dispatchEvent(new Event("unauthenticated"));
    throw new Refused(response.status, response.headers, body);
  }
  // The age of an object counts from the server's clock, not this machine's.
  const clock = { readAt: performance.now(), serverTime: Date.parse(response.headers.get("Date")) || Date.now() };
  return { status: response.status, headers: response.headers, body, clock };
}

export const read = (path, query) => answered(addressOf(path, query), { headers: session.headers() });

/** Builds a write without sending it. `version` is the version that it was computed from. */
export function write(method, path, { body, version, query, reason } = {}) {
  const headers = { "Idempotency-Key": freshKey() };
  if (body !== undefined) headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  if (version !== undefined) headers["If-Match"] = `"${version}"`;
  if (reason !== undefined) headers["X-Force-Reason"] = headerOf(reason);
  return Object.freeze({ method, address: addressOf(path, query), headers, body: body === undefined ? undefined : stringify(body) });
}

/** Sends a write, for the first time or again. */
export const send = ({ method, address, headers, body }) =>
  answered(address, { method, headers: { ...session.headers(), ...headers }, body });

export const isConflict = (error) => error instanceof Refused && error.problem.code === "CONFLICT_VERSION_MISMATCH";

/** Whether sending the same request again is safe and may help. */
export const mayResend = (error) => error instanceof NoAnswer || error.problem?.retry?.action === "resend";

function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Whether the server is ready: true, false, or undefined if it does not answer. */
export async function isReady() {
  try {
    return (await fetch(new URL("readyz", document.baseURI), { cache: "no-store" })).ok;
  } catch {
    return undefined;
  }
}

/** The server's OpenAPI document. */
export async function openApi() {
  return (await answered(new URL("openapi.json", document.baseURI), {})).body;
}

/** The stream of events, as an open response. */
export function eventStream(query, lastEventId, signal) {
  const headers = session.headers();
  if (lastEventId !== undefined) headers["Last-Event-ID"] = lastEventId;
  return fetch(addressOf("/events/stream", query), { headers, signal, cache: "no-store" });
}
