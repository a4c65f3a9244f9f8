// The stream of a terminal's messages, server-sent events read by fetch: EventSource
// cannot send an Authorization header.
import { Refused } from "./page.js";

const path = "/countersign/v1/messages";
const longestPause = 30_000; // milliseconds

// A Mailbox follows the messages of a terminal for as long as the page is open.
export class Mailbox {
  // received is called with each message once; told with what the stream does: a
  // text, or a Refused.
  constructor(persona, received, told) {
    Object.assign(this, { persona, received, told });
    this.last = ""; // number of the last message that came
    this.seen = new Map(); // number to id, of messages that are not done with
    this.ids = new Set();
    this.acked = 0;
    this.pause = 1000;
  }

  // follow reads until the page goes, and comes again when it is cut off.
  async follow() {
    for (;;) {
      try {
        await this.read();
        this.told("Connecting again…");
      } catch (problem) {
        this.told(problem);
      }
      await new Promise((done) => setTimeout(done, this.pause));
      this.pause = Math.min(2 * this.pause, longestPause);
    }
  }

  async read() {
    const headers = { Accept: "text/event-stream" };
    if (this.last !== "") headers["Last-Event-ID"] = this.last;
    const response = await this.persona.call("device", "GET", path, { headers });
    if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
    this.told("Connected.");
    let text = "";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.pause = 1000; // it lives
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) this.event(text.slice(0, end));
    }
  }

  // event takes one event of the stream; a comment and what has no data is none.
  event(text) {
    const data = text.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
    if (data.length === 0) return;
    const message = JSON.parse(data.join("\n"));
    this.last = String(message.number);
    if (this.ids.has(message.id)) return; // it came before
    this.ids.add(message.id);
    this.seen.set(message.number, message.id);
    this.received(message);
  }

  // finish says that a person is done with a message. Those before the first that is
  // open still need not come again when the page is loaded anew.
  async finish(message) {
    this.seen.delete(message.number);
    const open = Math.min(...this.seen.keys());
    const upTo = Number.isFinite(open) ? open - 1 : Number(this.last);
    if (upTo <= this.acked) return;
    try {
      await this.persona.does("device", "POST", path + "/ack", { body: { up_to: upTo } });
      this.acked = upTo;
    } catch (problem) {
      this.told(problem);
    }
  }
}
