// Keeps a view current that no event tells about. Works only while the page is visible.

const BEAT_MS = 1000;
const EVERY_MS = 5000;
const EVERY_MAX_MS = 60000;

export class Poll {
  last = performance.now();
  pause = EVERY_MS;
  #stop = new AbortController();

  /** `read` reads again and rejects if that fails. `beat` is called every second, to count down. */
  constructor(read, beat) {
    Object.assign(this, { read, beat });
    const now = () => this.tick(performance.now(), document.hidden);
    document.addEventListener("visibilitychange", now, { signal: this.#stop.signal });
    this.timer = setInterval(now, BEAT_MS);
  }

  /** Reads again with the next tick. */
  soon() {
    this.last = -Infinity;
  }

  tick(now, isHidden) {
    if (isHidden) return;
    this.beat();
    if (!this.isReading && now - this.last >= this.pause) this.#readAt(now);
  }

  async #readAt(now) {
    this.isReading = true;
    this.last = now;
    try {
      await this.read();
      this.pause = EVERY_MS;
    } catch {
      this.pause = Math.min(this.pause * 2, EVERY_MAX_MS);
    }
    this.isReading = false;
  }

  close() {
    clearInterval(this.timer);
    this.#stop.abort();
  }
}
