// The messages of a terminal, in the elements "messages" and "connection".
import { byId, element, refusal, show } from "./page.js";
import { Mailbox } from "./messages.js";
import { card } from "./card.js";

// listen shows the messages as they come, for as long as the page is open.
export function listen(me) {
  const cards = new Map(); // by message
  const mailbox = new Mailbox(me, (message) => {
    const made = card(me, message, () => mailbox.finish(message));
    cards.set(message.id, { message, made });
    byId("messages").append(made.item);
    // What is closed, or asked of another phone, waits for nobody here any more.
    if (["checkout_closed", "intent_cancelled"].includes(message.kind)) over(cards, "intent", message);
    if (message.kind === "challenge_locked") over(cards, "challenge", message);
    if (message.kind === "payment_response") over(cards, "intent", message, "gesture_request");
  }, (state) => show(byId("connection"), typeof state === "string" ? element("p", {}, state) : refusal(state)));
  mailbox.follow();
}

function over(cards, what, by, kind) {
  for (const { message, made } of cards.values()) {
    if (message !== by && message[what] && message[what] === by[what] && (!kind || message.kind === kind)) made.close();
  }
}
