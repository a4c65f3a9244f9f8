// Reading QR codes: with the camera, from a picture, or pasted.
import { Refused, attempt, button, element } from "./page.js";

const longestSide = 1600; // pixels of what is sent to be read
const everyMillis = 400;

// read returns the text of the QR code in a picture: a bitmap, or a video's frame.
async function read(picture, width, height) {
  const scale = Math.min(1, longestSide / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const body = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const response = await fetch("/decode", { method: "POST", headers: { "Content-Type": "image/png" }, body });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer);
  return answer.text;
}

// scanner makes the controls. found is called with the text of a code.
export function scanner(label, found) {
  const outcome = element("div");
  const video = element("video", { playsinline: true, hidden: true });
  video.muted = true;
  let camera;
  const stop = () => {
    for (const track of camera?.getTracks() ?? []) track.stop();
    camera = undefined;
    video.hidden = true;
  };
  const start = async () => {
    stop();
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = camera;
    video.hidden = false;
    await video.play();
    while (camera) {
      await new Promise((done) => setTimeout(done, everyMillis));
      if (!camera || video.videoWidth === 0) continue;
      try {
        const text = await read(video, video.videoWidth, video.videoHeight);
        stop();
        return text;
      } catch (problem) {
        if (problem.code !== "qr_none") throw problem;
      }
    }
    return undefined;
  };
  const use = (work) => attempt(outcome, work, (text) => {
    if (text !== undefined) found(text);
  });
  const file = element("input", { type: "file", accept: "image/*", class: "picture" });
  file.addEventListener("change", () => use(async () => {
    const bitmap = await createImageBitmap(file.files[0]);
    file.value = "";
    return read(bitmap, bitmap.width, bitmap.height);
  }));
  const typed = element("input", { type: "text", autocomplete: "off", class: "pasted" });
  return element("fieldset", { class: "scanner" },
    element("legend", {}, label),
    element("p", { class: "row" }, button("Camera", () => use(start)), button("Stop", stop)),
    video,
    element("label", {}, "From a picture", file),
    element("label", {}, "Or paste what it says", typed),
    button("Use it", () => typed.value.trim() && found(typed.value.trim()), { class: "use-pasted" }),
    outcome);
}
