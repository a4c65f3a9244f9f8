// What all pages share: whom a page plays, its calls, and what it shows.

// element makes an element with attributes and children: nodes, or texts that are
// shown as they are.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

export const button = (text, click, attributes = {}) => element("button", { type: "button", click, ...attributes }, text);

// show puts nodes in the place of what an element has.
export function show(place, ...nodes) {
  place.replaceChildren(...nodes.filter((node) => node !== undefined && node !== null && node !== false));
}

// newKey is an idempotency key: one for each thing that is wanted, the same when it is
// tried again.
export const newKey = () => crypto.randomUUID();

async function post(path, body) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

// A Persona is whom the page plays.
class Persona {
  constructor(known) {
    Object.assign(this, known);
  }

  // token is one for a call as "device" or as "user".
  async token(as) {
    const response = await post("/token", { persona: this.name, as });
    const answer = await response.json();
    if (!response.ok) throw new Refused(response.status, answer);
    return answer.token;
  }

  // call makes a call through Envoy and returns its answer, whatever that is.
  async call(as, method, path, { body, key, headers = {}, signal } = {}) {
    const all = { ...headers, Authorization: "Bearer " + (await this.token(as)) };
    if (method !== "GET") all["Idempotency-Key"] = key ?? newKey();
    if (body !== undefined) all["Content-Type"] = "application/json";
    return fetch("/envoy" + path, { method, headers: all, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  }

  // does is a call whose answer is read. What is no success is thrown as a Refused.
  async does(as, method, path, options) {
    const response = await this.call(as, method, path, options);
    const text = await response.text();
    let answer = {};
    try {
      answer = text === "" ? {} : JSON.parse(text);
    } catch {
      answer = { code: response.ok ? undefined : "http_" + response.status, detail: text.slice(0, 200) };
    }
    if (!response.ok) throw new Refused(response.status, answer);
    return { answer, status: response.status, intent: response.headers.get("countersign-intent-id") };
  }
}

// A Refused is an answer that is no success: a problem document.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || (status >= 500 ? "Nobody could answer. Try again." : ""));
    this.status = status;
    this.code = problem.code ?? "http_" + status;
    this.reasons = problem.reasons ?? [];
    this.challenge = problem.challenge;
    this.intent = problem.intent_id;
  }
}

// persona lets a person choose whom the page plays, in the element "persona", and
// returns the one that the address names, or else the first.
export async function persona(page) {
  const response = await fetch("/personas");
  const all = (await response.json()).filter((known) => known.pages.includes(page));
  const named = new URLSearchParams(location.search).get("persona");
  const chosen = all.find((known) => known.name === named) ?? all[0];
  const choice = byId("persona");
  for (const known of all) {
    choice.append(element("option", { value: known.name, selected: known === chosen }, known.title));
  }
  choice.addEventListener("change", () => {
    location.search = "?persona=" + encodeURIComponent(choice.value);
  });
  currencyShown = chosen?.currency ?? currencyShown;
  document.title = chosen ? chosen.title : "Nobody to play here";
  return chosen && new Persona(chosen);
}

// currencyShown is that of the persona's account: what remains of a limit is told without.
let currencyShown = "minor units";

// attempt does something that may be refused, and tells in the place what came of it:
// what done makes of it, or the code and the message of the refusal. It returns whether
// it went well.
export async function attempt(place, work, done) {
  show(place, element("p", { class: "waiting" }, "…"));
  try {
    const result = await work();
    show(place, done ? done(result) : undefined);
    return true;
  } catch (problem) {
    show(place, refusal(problem));
    return false;
  }
}

// refusal shows why something was refused, all reasons of it; or what it waits for.
export function refusal(problem) {
  if (!(problem instanceof Refused)) {
    return element("p", { class: "error", role: "alert" }, element("code", {}, "page_error"), " " + problem.message);
  }
  const lines = problem.reasons.length > 0 ? problem.reasons : [{ code: problem.code, message: problem.message }];
  return element("div", problem.challenge ? { class: "asks", role: "status" } : { class: "error", role: "alert" }, ...lines.map((reason) =>
    element("p", {}, element("code", {}, reason.code), " " + (reason.message ?? "") + remaining(reason))));
}

function remaining(reason) {
  let text = "";
  if (reason.remaining_minor !== undefined) text += " Left: " + money(reason.remaining_minor, currencyShown) + ".";
  if (reason.remaining_count !== undefined) text += " Left: " + reason.remaining_count + ".";
  if (reason.resets_at_ns) text += " From " + time(reason.resets_at_ns) + " again.";
  return text;
}

export const good = (text) => element("p", { class: "good", role: "status" }, text);

// Digits after the point, of the currencies of ISO 4217 that have not two. Browsers
// follow what is usual in a country instead, which is not what a payment counts in.
const digits = {
  BIF: 0, CLP: 0, DJF: 0, GNF: 0, ISK: 0, JPY: 0, KMF: 0, KRW: 0, PYG: 0, RWF: 0, UGX: 0, UYI: 0, VND: 0, VUV: 0,
  XAF: 0, XOF: 0, XPF: 0, BHD: 3, IQD: 3, JOD: 3, KWD: 3, LYD: 3, OMR: 3, TND: 3, CLF: 4, UYW: 4,
};

const digitsOf = (currency) => digits[currency] ?? 2;

// money is an amount in minor units as people read it: "12.50 EUR".
export function money(minor, currency) {
  if (!Number.isSafeInteger(minor)) return "an amount too large to show";
  const after = /^[A-Z]{3}$/.test(currency) ? digitsOf(currency) : 0;
  const text = String(Math.abs(minor)).padStart(after + 1, "0");
  const whole = text.slice(0, text.length - after);
  return (minor < 0 ? "-" : "") + whole + (after > 0 ? "." + text.slice(text.length - after) : "") + " " + currency;
}

// minor is an amount that a person typed, in minor units. What is not exact is an error.
export function minor(text, currency) {
  const parts = /^\s*(\d{1,12})(?:[.,](\d+))?\s*$/.exec(text);
  const after = digitsOf(currency);
  if (!parts || (parts[2] ?? "").length > after) {
    throw new Error(`An amount in ${currency} is a number with up to ${after} digits after the point.`);
  }
  const amount = Number(parts[1] + (parts[2] ?? "").padEnd(after, "0"));
  if (!Number.isSafeInteger(amount)) throw new Error("The amount is too large.");
  return amount;
}

// time is an instant, nanoseconds since 1970, on this machine's clock.
export const time = (nanos) => {
  const at = new Date(nanos / 1e6);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
};

// fact is a line of a list of facts; nothing where there is none.
export function facts(...lines) {
  return element("dl", {}, ...lines.filter(([, value]) => value !== undefined && value !== "").flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]));
}

// png shows a picture that came within an answer, in base64.
export const png = (base64, alt) => element("img", { class: "qr", alt, src: "data:image/png;base64," + base64 });

// prefill puts what the persona knows in the fields of a form that are empty.
export function prefill(form, known) {
  for (const [name, value] of Object.entries(known)) {
    const field = form.elements[name];
    if (field && value && field.value === "") field.value = value;
  }
}

// onSubmit calls back with a form's values; the page stays.
export function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    work(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()])));
  });
}

// payment reads payee, amount and currency of a form as a call says them.
export function payment(values) {
  const currency = values.currency.toUpperCase();
  return { payee: values.payee, amount_minor: minor(values.amount, currency), currency };
}
