// What a delegate's phone does: takes grants, and makes payment codes of them.
import { attempt, button, element, facts, money, newKey, show, refusal } from "./page.js";
import { code, device, keep, kept, parse } from "./totp.js";
import { draw } from "./qr.js";

const grantPath = (grant, what = "") => "/countersign/v1/grants/" + encodeURIComponent(grant) + what;

export function delegate(me, section, load, place) {
  section.hidden = false;
  const refresh = () => attempt(place, () => me.does("user", "GET", "/countersign/v1/delegations"), ({ answer }) => {
    const grants = answer.items.filter((grant) => ["offered", "active", "frozen"].includes(grant.state));
    return element("div", {}, ...grants.map((grant) => shown(me, grant, refresh)),
      grants.length === 0 ? element("p", {}, "Nothing yet.") : undefined);
  });
  load.addEventListener("click", refresh);
}

function shown(me, grant, refresh) {
  const outcome = element("div");
  const controls = element("p", { class: "row" });
  const does = (what) => () => attempt(outcome, () => me.does("user", "POST", grantPath(grant.id, what)), () => void refresh());
  if (grant.state === "offered") {
    controls.append(button("Accept", does("/accept"), { class: "accept" }), button("Decline", does("/decline"), { class: "second" }));
  } else {
    controls.append(button("Show a payment code", () => codes(me, grant, outcome), { class: "show-code" }));
  }
  return element("div", { class: "card", "data-grant": grant.id }, element("h3", {}, "From " + grant.owner.subject),
    facts(["State", grant.state], ...grant.remaining.filter((room) => room.remaining_minor !== undefined)
      .map((room) => [room.limit, money(room.remaining_minor, grant.terms.currency) + " left"])),
    controls, outcome);
}

// codes shows codes one after another. The parameters are fetched where this browser has
// none of the grant: once for each acceptance.
async function codes(me, grant, outcome) {
  const canvas = element("canvas", { role: "img" });
  const digits = element("p", { class: "secret payment-code" });
  const left = element("p");
  try {
    const from = await deviceOf(me, grant);
    show(outcome, digits, canvas, left);
    for (let step; outcome.contains(digits) && outcome.isConnected;) {
      const now = Date.now();
      const made = await code(from, now);
      if (made.step !== step) {
        step = made.step;
        const parts = [made.text.slice(0, 2), made.text.slice(2, 12), made.text.slice(12)];
        show(digits, ...parts.map((part) => element("span", {}, part)));
        draw(canvas, made.text);
        canvas.setAttribute("aria-label", "QR code of the payment code");
      }
      left.textContent = "A new one in " + Math.ceil((made.nextMillis - now) / 1000) + " seconds. Each is good for one payment.";
      await new Promise((done) => setTimeout(done, 500));
    }
  } catch (problem) {
    show(outcome, refusal(problem));
  }
}

async function deviceOf(me, grant) {
  const id = me.name + " " + grant.id;
  if (!grant.parameters_wait) {
    const known = await kept(id);
    if (known) return known;
  }
  // An answer that is lost comes again under the same key.
  const key = sessionStorage.getItem(id) ?? newKey();
  sessionStorage.setItem(id, key);
  const { answer } = await me.does("user", "POST", grantPath(grant.id, "/parameters"), { key });
  const made = await device(parse(answer.uri));
  await keep(id, made);
  sessionStorage.removeItem(id);
  grant.parameters_wait = false;
  return made;
}
