// A till: charges payment codes, which it scans or has typed.
import { attempt, byId, good, money, newKey, onSubmit, payment, persona, prefill } from "./page.js";
import { scanner } from "./scan.js";

const me = await persona("till");
if (me) charge();

function charge() {
  let wanted;
  const form = byId("charge");
  const again = byId("repeat");
  prefill(form, me);
  byId("scan").append(scanner("The customer's code", (text) => {
    form.elements.payment_code.value = text;
  }));
  // Where the owner approves each payment, the till repeats its call under the same key,
  // with the same code, once they have.
  const send = () => attempt(byId("outcome"), async () => {
    try {
      await me.does("device", "POST", "/v1/payments", wanted);
      again.hidden = true;
    } catch (problem) {
      again.hidden = !(problem.challenge || problem.status >= 500);
      throw problem;
    }
  }, () => good(`Paid: ${money(wanted.body.amount_minor, wanted.body.currency)}.`));
  onSubmit(form, (values) => attempt(byId("outcome"), () => {
    wanted = { key: newKey(), body: { payment_code: values.payment_code, ...payment(values) } };
    form.elements.payment_code.value = "";
  }).then((well) => well && send()));
  again.addEventListener("click", send);
}
