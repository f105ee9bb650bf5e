// Changes as they happen. EventSource cannot send an Authorization header, so this reads the stream itself.

import { eventStream } from "./api.js";
import { parse } from "./exact.js";

const PAUSE_MS = 1000;
const PAUSE_MAX_MS = 15000;

/** Follows the stream until `signal` aborts it. After a broken connection it resumes after the last event received.
 * `query` may have `type` and `last`. `onState` is called with "live", "waiting" or "refused". */
export async function follow(query, signal, onEvent, onState = () => {}) {
  let lastEventId;
  let pause = PAUSE_MS;
  while (!signal.aborted) {
    try {
      const response = await eventStream(query, lastEventId, signal);
      if (response.ok) {
        onState("live");
        pause = PAUSE_MS;
        for await (const { id, data } of eventsOf(response.body)) {
          lastEventId = id ?? lastEventId;
          if (data !== undefined) onEvent(data);
        }
      } else if (response.status === 410) {
        // The log of events was replaced, so the last id means nothing any more.
        lastEventId = undefined;
      } else if (response.status < 500 && response.status !== 429) {
        onState("refused");
        return;
      }
    } catch {
      // The loop opens another connection.
    }
    if (signal.aborted) return;
    onState("waiting");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  }
}

async function* eventsOf(body) {
  let unread = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (unread + chunk).split("\n\n");
    unread = blocks.pop();
    yield* blocks.map(eventOf);
  }
}

/** "id: 7\nevent: plan.updated\ndata: {…}" → { id: "7", data: {…} }. A block may have an id and no data, or neither. */
export function eventOf(block) {
  const lines = block.split("\n");
  const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
  const data = field("data").join("\n");
  return { id: field("id").pop() || undefined, data: data === "" ? undefined : parse(data) };
}
