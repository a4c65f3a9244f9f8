// QR codes of digits, drawn by the page alone: version 1 with error correction M has
// room for 34 digits (ISO/IEC 18004), and a payment code has 20.

const side = 21;
const dataWords = 16;
const checkWords = 10;
const quiet = 4;

// words are the data codewords of a text of digits.
function words(text) {
  let bits = "0001" + text.length.toString(2).padStart(10, "0");
  for (let at = 0; at < text.length; at += 3) {
    const group = text.slice(at, at + 3);
    bits += Number(group).toString(2).padStart([0, 4, 7, 10][group.length], "0");
  }
  bits += "0".repeat(Math.min(4, 8 * dataWords - bits.length));
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "0");
  const all = bits.match(/.{8}/g).map((byte) => parseInt(byte, 2));
  for (let pad = 0xec; all.length < dataWords; pad ^= 0xec ^ 0x11) all.push(pad);
  return all;
}

// times multiplies in the field of 256 elements that QR codes count in.
function times(a, b) {
  let product = 0;
  for (; b > 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = (a << 1) ^ (a & 0x80 ? 0x11d : 0);
  }
  return product;
}

// checks are the error correction codewords (Reed and Solomon).
function checks(data) {
  let generator = [1];
  for (let i = 0, root = 1; i < checkWords; i++, root = times(root, 2)) {
    const next = [...generator, 0];
    generator.forEach((factor, at) => (next[at + 1] ^= times(factor, root)));
    generator = next;
  }
  const rest = [...data, ...new Array(checkWords).fill(0)];
  data.forEach((_, at) => {
    const lead = rest[at];
    generator.forEach((factor, i) => (rest[at + i] ^= times(factor, lead)));
  });
  return rest.slice(data.length);
}

// patterns are the modules that every code has, undefined where data goes.
function patterns() {
  const modules = Array.from({ length: side }, () => new Array(side).fill(undefined));
  const finder = (top, left) => {
    for (let row = -1; row <= 7; row++) {
      for (let column = -1; column <= 7; column++) {
        const r = top + row;
        const c = left + column;
        if (r < 0 || c < 0 || r >= side || c >= side) continue;
        const ring = Math.max(Math.abs(row - 3), Math.abs(column - 3));
        modules[r][c] = ring !== 2 && ring !== 4;
      }
    }
  };
  finder(0, 0);
  finder(0, side - 7);
  finder(side - 7, 0);
  for (let at = 8; at < side - 8; at++) modules[6][at] = modules[at][6] = at % 2 === 0;
  modules[side - 8][8] = true;
  return modules;
}

// format puts in which error correction (M) and mask (0) the code has, twice.
function format(modules) {
  const bits = 0x5412; // 00 000 and no check bits, masked
  const bit = (i) => ((bits >> i) & 1) === 1;
  for (let i = 0; i < 15; i++) {
    // Beside the finder at the top left, from its top down and on to the left,
    if (i < 6) modules[i][8] = bit(i);
    else if (i < 8) modules[i + 1][8] = bit(i);
    else if (i === 8) modules[8][7] = bit(i);
    else modules[8][14 - i] = bit(i);
    // and beside the other two.
    if (i < 8) modules[8][side - 1 - i] = bit(i);
    else modules[side - 15 + i][8] = bit(i);
  }
}

// modulesOf are the modules of a code, dark or not.
function modulesOf(text) {
  if (!/^\d{1,34}$/.test(text)) throw new Error("Only up to 34 digits can be drawn.");
  const data = words(text);
  const bits = [...data, ...checks(data)].flatMap((word) => [...word.toString(2).padStart(8, "0")].map((bit) => bit === "1"));
  const modules = patterns();
  format(modules);
  let at = 0;
  let up = true;
  for (let right = side - 1; right > 0; right -= 2, up = !up) {
    if (right === 6) right--; // the timing pattern has no data
    for (let i = 0; i < side; i++) {
      const row = up ? side - 1 - i : i;
      for (const column of [right, right - 1]) {
        if (modules[row][column] !== undefined) continue;
        modules[row][column] = (bits[at++] ?? false) !== ((row + column) % 2 === 0); // mask 0
      }
    }
  }
  return modules;
}

// draw draws the QR code of a text of digits on a canvas.
export function draw(canvas, text, pixels = 8) {
  const modules = modulesOf(text);
  canvas.width = canvas.height = (side + 2 * quiet) * pixels;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "black";
  modules.forEach((row, r) => row.forEach((dark, c) => {
    if (dark) pen.fillRect((c + quiet) * pixels, (r + quiet) * pixels, pixels, pixels);
  }));
}
