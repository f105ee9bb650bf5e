// Reports changes of the object on the screen.

import { follow } from "./stream.js";

/** Events to read back, for changes between reading the object and following the stream. */
const BACK = 100;

export class Watch {
  constructor(kind, object, changed) {
    this.version = object.version;
    this.stop = new AbortController();
    follow({ type: kind, last: BACK }, this.stop.signal, (event) => {
      if (event.resource.id !== object.id || event.version <= this.version) return;
      this.version = event.version;
      this.event = event;
      changed();
    });
  }

  close() {
    this.stop.abort();
  }
}
