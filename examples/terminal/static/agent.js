// An agent's desk: orders for users, and does the business that they ask for.
import { attempt, button, byId, element, facts, good, money, newKey, onSubmit, payment, persona, prefill, show } from "./page.js";
import { scanner } from "./scan.js";

const me = await persona("agent");
if (me) {
  order();
  business();
}

function order() {
  let wanted;
  prefill(byId("order"), { currency: me.currency, payee: me.payee });
  const again = byId("order-repeat");
  const send = () => attempt(byId("order-outcome"), async () => {
    try {
      const { intent } = await me.does("device", "POST", "/v1/agent/orders", wanted);
      again.hidden = true;
      return intent;
    } catch (problem) {
      again.hidden = !(problem.challenge || problem.status >= 500);
      throw problem;
    }
  }, (intent) => element("div", {}, good("Ordered. The user is asked to pay."), facts(["Order", intent]), state(intent)));
  onSubmit(byId("order"), (values) => attempt(byId("order-outcome"), () => {
    const optional = Object.fromEntries(["description", "terminal", "stored_code"].filter((name) => values[name]).map((name) => [name, values[name]]));
    wanted = { key: newKey(), body: { account: values.account, ...payment(values), ...optional } };
    byId("order").elements.stored_code.value = "";
  }).then((well) => well && send()));
  again.addEventListener("click", send);
}

// state shows what became of an order.
function state(intent) {
  const place = element("div");
  return element("div", {}, element("p", { class: "row" }, button("What became of it?", () => attempt(place, () =>
    me.does("device", "GET", "/countersign/v1/agent/orders/" + encodeURIComponent(intent)),
  ({ answer }) => element("p", {}, "State: ", element("strong", { class: "state" }, answer.state))))), place);
}

function business() {
  const path = (id, what = "") => "/countersign/v1/business/" + encodeURIComponent(id) + what;
  const outcome = byId("business-outcome");
  const scan = (id) => attempt(outcome, () => me.does("device", "POST", path(id, "/scan"), { body: { account: me.account } }),
    () => good("The user is asked to confirm you."));
  const execute = (intent, key) => attempt(outcome, () => me.does("device", "POST", `/v1/business/${encodeURIComponent(intent.id)}/execute`, {
    key, body: { account: me.account, amount_minor: intent.amount_minor, type: intent.attributes.type },
  }), () => good("Done."));
  byId("business-scan").append(scanner("The user's code", (id) => {
    show(outcome);
    attempt(byId("business-view"), () => me.does("device", "GET", path(id)), ({ answer }) => {
      const key = newKey();
      return element("div", {}, element("p", { class: "amount" }, money(answer.amount_minor, answer.currency)),
        facts(["What", answer.attributes.type], ["For", `${answer.initiator.kind} ${answer.initiator.subject}`], ["State", answer.state], ["From", me.account]),
        element("p", { class: "row" },
          button("Ask the user to confirm me", () => scan(answer.id), { class: "second" }),
          button("Do it", () => execute(answer, key), { class: "execute" })));
    });
  }));
}
