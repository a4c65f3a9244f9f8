// A phone: a terminal of an account, and whoever holds it.
import { attempt, byId, element, good, minor, newKey, onSubmit, persona, png, prefill, refusal, show } from "./page.js";
import { Mailbox } from "./messages.js";
import { card } from "./card.js";
import { delegate } from "./delegate.js";

const me = await persona("phone");
if (me) {
  listen();
  if (me.user_too) delegate(me, byId("holder"), byId("grants-load"), byId("grants"));
  business();
  stored();
}

function listen() {
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

// business asks for something that an agent does, and shows the code for the agent.
function business() {
  prefill(byId("business"), me);
  onSubmit(byId("business"), (values) => attempt(byId("business-outcome"), async () => {
    const currency = values.currency.toUpperCase();
    const body = { type: values.type, amount_minor: minor(values.amount, currency), currency, proxy_mode: true };
    const { intent } = await me.does("device", "POST", "/v1/business", { body, key: newKey() });
    return (await me.does("device", "GET", "/countersign/v1/intents/" + encodeURIComponent(intent))).answer;
  }, (intent) => element("div", {}, good("Show this to the agent."), png(intent.qr_png, "The code of the business, for the agent"),
    element("p", {}, element("code", { class: "business-id" }, intent.id)))));
}

function stored() {
  onSubmit(byId("stored"), (values) => attempt(byId("stored-outcome"), () => {
    const currency = values.currency.toUpperCase();
    const body = values.amount === "" ? {} : { max_amount_minor: minor(values.amount, currency), currency };
    return me.does("device", "POST", "/countersign/v1/stored_codes", { body });
  }, () => good("It comes as a message.")));
}
