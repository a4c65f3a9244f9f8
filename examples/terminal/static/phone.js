// A phone: a terminal of an account, and whoever holds it.
import { attempt, byId, element, good, minor, newKey, onSubmit, persona, png, prefill } from "./page.js";
import { delegate } from "./delegate.js";
import { listen } from "./inbox.js";

const me = await persona("phone");
if (me) {
  if (me.calls_as.includes("device")) {
    listen(me);
    business();
    stored();
  } else {
    for (const part of document.querySelectorAll("section.bound")) part.hidden = true; // for terminals of an account
  }
  if (me.calls_as.includes("user")) delegate(me, byId("holder"), byId("grants-load"), byId("grants"));
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
