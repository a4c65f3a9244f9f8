// Payment codes, made by the page alone: docs/codes.md. The secret is kept as a key that
// no script can read again.

// parse reads the parameters of a device's codes, an otpauth:// URI.
export function parse(uri) {
  const url = new URL(uri.replace(/^otpauth:\/\/totp\//, "https://totp.invalid/"));
  const values = url.searchParams;
  const algorithm = { SHA1: "SHA-1", SHA256: "SHA-256", SHA512: "SHA-512" }[values.get("algorithm")];
  const parameters = {
    algorithm, secret: fromBase32(values.get("secret") ?? ""),
    digits: Number(values.get("digits")), period: Number(values.get("period")),
    prefix: values.get("prefix"), handle: values.get("handle"),
  };
  const whole = algorithm && parameters.secret.length > 0 && parameters.digits === 8 && parameters.period > 0 &&
    /^\d{2}$/.test(parameters.prefix) && /^\d{10}$/.test(parameters.handle);
  if (!whole) throw new Error("These are no parameters of payment codes.");
  return parameters;
}

function fromBase32(text) {
  const bytes = [];
  let bits = 0;
  let held = 0;
  for (const letter of text.replace(/=+$/, "")) {
    const value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter);
    if (value < 0) return new Uint8Array();
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) bytes.push((held >> (bits -= 8)) & 0xff);
  }
  return new Uint8Array(bytes);
}

// device makes what codes come of, out of parameters.
export async function device({ secret, ...rest }) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: rest.algorithm }, false, ["sign"]);
  secret.fill(0);
  return { ...rest, key };
}

// code is the payment code of an instant, in milliseconds, and when the next one comes.
export async function code(from, millis) {
  const step = Math.floor(millis / 1000 / from.period);
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(step));
  const mac = new DataView(await crypto.subtle.sign("HMAC", from.key, counter.buffer));
  const at = mac.getUint8(mac.byteLength - 1) & 0xf; // RFC 4226, 5.3
  const password = (mac.getUint32(at) & 0x7fffffff) % 10 ** from.digits;
  return {
    step,
    text: from.prefix + from.handle + String(password).padStart(from.digits, "0"),
    nextMillis: (step + 1) * from.period * 1000,
  };
}

// Where keys are kept in this browser, by grant.
function inStore(mode, work) {
  return new Promise((done, failed) => {
    const opening = indexedDB.open("countersign-demo", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("devices");
    opening.onerror = () => failed(opening.error);
    opening.onsuccess = () => {
      const request = work(opening.result.transaction("devices", mode).objectStore("devices"));
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(request.error);
    };
  });
}

export const keep = (grant, made) => inStore("readwrite", (devices) => devices.put(made, grant));
export const kept = (grant) => inStore("readonly", (devices) => devices.get(grant));
