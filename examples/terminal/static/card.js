// A message as a phone shows it, with what can be done about it.
import { attempt, button, element, facts, good, money, newKey, show, time } from "./page.js";
import { pad } from "./gestures.js";
import { scanner } from "./scan.js";

const titles = {
  code: "A code",
  stored_code: "A code for an agent, agreed in advance",
  approval_request: "Do you approve this payment?",
  gesture_request: "A computer wants to pay",
  payment_response: "Pay here",
  checkout_paid: "It was paid on the phone",
  checkout_closed: "This is closed",
  deduction_request: "Pay for an order?",
  deduction_notice: "Taken from your account",
  payment_succeeded: "The payment succeeded",
  payment_failed: "The payment failed",
  authorisation_failed: "An order was not authorised",
  agent_confirmation_request: "May this agent do it?",
  business_executed: "The agent has done it",
  intent_cancelled: "It was cancelled",
  challenge_locked: "Too many wrong codes: start again",
  verification_locked: "The account's codes are locked",
};

const path = (...parts) => parts.map((part, i) => (i % 2 === 0 ? part : encodeURIComponent(part))).join("");

// actions are what a person can do, by the kind of the message. Each puts its controls in
// the card's place.
const actions = {
  code: enter, approval_request: approve, gesture_request: gesture, payment_response: pay,
  deduction_request: deduct, agent_confirmation_request: confirm,
};

// card makes the card. finished is called when the person is done with the message.
export function card(me, message, finished) {
  const item = element("li", { class: "card", "data-kind": message.kind });
  const controls = element("div");
  const outcome = element("div", { class: "outcome" });
  const close = () => {
    show(controls);
    item.classList.add("over");
    finished();
  };
  const requester = message.requester;
  const { gesture: _, ...details } = message.details ?? {};
  item.append(...[
    element("h3", {}, titles[message.kind] ?? message.kind),
    message.amount_minor ? element("p", { class: "amount" }, money(message.amount_minor, message.currency)) : undefined,
    facts(["To", message.payee], ["Asked by", requester?.subject && `${requester.kind} ${requester.subject}`],
      ...Object.entries(details), ["Until", time(message.expires_at_ns)]),
    message.code ? element("p", { class: "secret" }, message.code) : undefined,
    controls, outcome,
    element("p", { class: "row" }, button("Done with this", close, { class: "second done" })),
  ].filter(Boolean));
  const closing = message.expires_at_ns / 1e6 - Date.now();
  if (closing < 2 ** 31) setTimeout(close, Math.max(0, closing));
  const say = (work, text, options = {}) => attempt(outcome, work, () => good(text)).then((well) => {
    if (well && options.closes !== false) close();
    return well;
  });
  actions[message.kind]?.({ me, message, controls, say });
  return { item, close };
}

// enter is for a code that is to come back from this phone. Whether it is, the challenge
// tells: attempts are shown to those who enter its codes.
async function enter({ me, message, controls, say }) {
  if (!message.challenge) return;
  const no = button("That was not me", () => say(() => me.does("device", "POST", path("/countersign/v1/challenges/", message.challenge, "/reject")),
    "Refused."), { class: "second reject" });
  show(controls, element("p", { class: "row" }, no));
  let challenge;
  try {
    challenge = (await me.does("device", "GET", path("/countersign/v1/challenges/", message.challenge))).answer;
  } catch {
    return; // it is over; the code is shown all the same
  }
  if (challenge.attempts_left === undefined || !message.code) return;
  show(controls, element("p", { class: "row" },
    button("Yes, send the code back", () => say(() => me.does("device", "POST", path("/countersign/v1/challenges/", message.challenge, "/entries"),
      { body: { code: message.code } }), "Sent."), { class: "send-code" }), no));
}

function approve({ me, message, controls, say }) {
  const answer = (what, text) => () => say(() => me.does("device", "POST", path("/countersign/v1/challenges/", message.challenge, "/" + what)), text);
  show(controls, element("p", { class: "row" },
    button("Approve", answer("approve", "Approved. The till may charge now."), { class: "approve" }),
    button("Reject", answer("reject", "Rejected."), { class: "second reject" })));
}

function gesture({ me, message, controls, say }) {
  show(controls, pad((message.details?.gesture ?? "tap").split(","), (kind) => say(
    () => me.does("device", "POST", "/countersign/v1/gestures", { body: { gesture: kind } }), "Reported: " + kind + ".")));
}

// pay is the payment page. What is paid is what the message says; the token, where one
// is wanted, is that of the computer's screen.
function pay({ me, message, controls, say }) {
  const key = newKey();
  const send = (token) => say(() => me.does("device", "POST", path("/v1/checkouts/", message.intent, "/pay"), {
    key: token === undefined ? key : newKey(),
    body: { payee: message.payee, amount_minor: message.amount_minor, currency: message.currency, ...(token === undefined ? {} : { token }) },
  }), "Paid.");
  if (message.details?.mode === "scan") show(controls, scanner("Scan what the computer shows, to pay", send));
  else show(controls, element("p", { class: "row" }, button("Pay " + money(message.amount_minor, message.currency), () => send(), { class: "pay" })));
}

function deduct({ me, message, controls, say }) {
  const key = newKey();
  show(controls, element("p", { class: "row" },
    button("Pay " + money(message.amount_minor, message.currency), () => say(() =>
      me.does("device", "POST", path("/v1/orders/", message.intent, "/payments"), { key }), "Paid."), { class: "pay" }),
    button("Decline", () => say(() => me.does("device", "POST", path("/countersign/v1/orders/", message.intent, "/decline")), "Declined."),
      { class: "second reject" })));
}

function confirm({ me, message, controls, say }) {
  const agent = message.details?.agent_account ?? "";
  show(controls, element("p", { class: "row" }, button("Yes, " + agent, () => say(() =>
    me.does("device", "POST", path("/countersign/v1/business/", message.intent, "/confirm"), { body: { agent_account: agent } }), "Confirmed."),
  { class: "approve" }),
  button("No, cancel it", () => say(() => me.does("device", "POST", path("/countersign/v1/intents/", message.intent, "/cancel")), "Cancelled."),
    { class: "second reject" })));
}
