// A field that a person swipes, taps or lifts a finger off, by pointer, touch or key.
import { button, element } from "./page.js";

const swipePixels = 50;
const liftMillis = 600; // a finger that rests so long and is lifted

// kindOf tells which gesture it is that began and ended with these events.
function kindOf(from, to) {
  if (Math.hypot(to.clientX - from.clientX, to.clientY - from.clientY) >= swipePixels) return "swipe";
  return to.timeStamp - from.timeStamp >= liftMillis ? "lift" : "tap";
}

// pad makes the field, with a button for each kind that is wanted. done is called with
// the kind of what was made.
export function pad(kinds, done) {
  const field = element("div", { class: "pad" }, "Here: " + kinds.join(" or ") + ". To lift, rest a finger for a moment first.");
  let from;
  field.addEventListener("pointerdown", (event) => {
    from = event;
    field.setPointerCapture(event.pointerId);
  });
  field.addEventListener("pointercancel", () => (from = undefined));
  field.addEventListener("pointerup", (event) => {
    if (from && from.pointerId === event.pointerId) done(kindOf(from, event));
    from = undefined;
  });
  return element("div", {}, field, element("p", { class: "row" }, ...kinds.map((kind) =>
    button(kind[0].toUpperCase() + kind.slice(1), () => done(kind), { class: "gesture-" + kind }))));
}
