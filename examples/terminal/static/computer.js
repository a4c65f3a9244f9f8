// A computer: its holder pays with codes from several phones, or has a phone pay.
import { attempt, button, byId, element, facts, good, money, newKey, onSubmit, payment, persona, png, prefill, refusal, show } from "./page.js";
import { listen } from "./inbox.js";

const everyMillis = 2000; // how often a checkout's state is looked at

const me = await persona("computer");
if (me) {
  // It is a terminal of the account itself, then, and gets a code as the others do.
  if (me.calls_as.includes("device")) {
    listen(me);
    checkout();
  } else {
    for (const part of document.querySelectorAll("section.bound")) part.hidden = true; // for terminals of an account
  }
  verified();
}

// verified pays with codes: the call is made again under its key until it passes.
function verified() {
  let wanted; // the call, its key, and the challenge that it waits for
  let count = 0;
  prefill(byId("verified"), me);
  const told = () => (byId("entered").textContent = count === 0 ? "" : `${count} entered.`);
  const asks = (challenge) => {
    byId("codes").hidden = !challenge;
    if (challenge !== wanted.challenge) count = 0;
    wanted.challenge = challenge;
    told();
  };
  const pay = () => attempt(byId("verified-outcome"), async () => {
    try {
      await me.does("user", "POST", wanted.path, { body: wanted.body, key: wanted.key });
      asks(undefined);
    } catch (problem) {
      asks(problem.challenge?.id ?? (problem.status >= 500 ? wanted.challenge : undefined));
      throw problem;
    }
  }, () => good(`Paid: ${money(wanted.body.amount_minor, wanted.body.currency)} to ${wanted.body.payee}.`));
  onSubmit(byId("verified"), (values) => attempt(byId("verified-outcome"), () => {
    const path = `/v1/accounts/${encodeURIComponent(me.account)}/${values.operation}`;
    wanted = { path, body: payment(values), key: newKey() };
  }).then((well) => well && pay()));
  byId("repeat").addEventListener("click", pay);
  onSubmit(byId("code"), (values) => attempt(byId("code-outcome"), async () => {
    const code = values.code.includes("+") ? String(values.code.split("+").reduce((sum, part) => sum + BigInt(part.trim()), 0n)) : values.code;
    await me.does("user", "POST", `/countersign/v1/user/challenges/${encodeURIComponent(wanted.challenge)}/entries`, { body: { code } });
    count++;
    told();
    byId("code").reset();
  }));
}

// checkout opens a checkout, and shows what becomes of it until it is over.
function checkout() {
  let watched; // the intent on the screen
  prefill(byId("checkout"), me);
  onSubmit(byId("checkout"), (values) => attempt(byId("checkout-outcome"), async () => {
    show(byId("checkout-state"));
    watched = undefined;
    const { intent } = await me.does("device", "POST", "/v1/checkouts", { body: payment(values), key: newKey() });
    watched = intent;
    watch(intent);
  }, () => good("Look at the phone.")));
  const watch = async (id) => {
    for (let over = false; !over && watched === id;) {
      try {
        const { answer } = await me.does("device", "GET", "/countersign/v1/intents/" + encodeURIComponent(id));
        over = answer.closed || answer.expired;
        if (watched === id) update(answer);
      } catch (problem) {
        if (problem.status < 500 || watched !== id) over = true;
        show(byId("checkout-state"), refusal(problem));
      }
      if (!over) await new Promise((done) => setTimeout(done, everyMillis));
    }
  };
  const update = (intent) => {
    const open = !intent.closed && !intent.expired;
    const scan = open && intent.attributes.mode === "scan";
    show(byId("checkout-state"),
      element("p", { class: "amount" }, money(intent.amount_minor, intent.currency)),
      facts(["To", intent.payee], ["Checkout", intent.id]),
      element("p", { role: "status" }, "State: ", element("strong", { class: "state" }, intent.expired && !intent.closed ? "expired" : intent.state)),
      scan && element("p", {}, "Scan this with the phone:"),
      scan && png(intent.token_qr_png, "The code of this checkout, for the phone"),
      open && element("p", { class: "row" }, button("Cancel", () => attempt(byId("checkout-outcome"), () =>
        me.does("device", "POST", `/countersign/v1/intents/${encodeURIComponent(intent.id)}/cancel`), () => good("Cancelled.")), { class: "second" })));
  };
}
