// Values as Python has them, so that messages about a graph read the same here as from hlvm.LatentGraph.load.
// Whole numbers are BigInt, other numbers Number, objects Map; text is told apart by characters, not by UTF-16 units.

/** An error that the user can mend; its message is for reading. */
export class UsageError extends Error {}

const ESCAPES = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\\", "\\\\"],
]);

/** Python's repr of a value. */
export function repr(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return floatRepr(value);
  if (typeof value === "string") return textRepr(value);
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  return `{${[...value].map(([key, of]) => `${repr(key)}: ${repr(of)}`).join(", ")}}`;
}

/** Python's repr of a pair. */
export function pairRepr(first, second) {
  return `(${repr(first)}, ${repr(second)})`;
}

function textRepr(text) {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let written = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    if (ESCAPES.has(character)) written += ESCAPES.get(character);
    else if (character === quote) written += `\\${quote}`;
    else if (character !== " " && /[\p{C}\p{Z}]/u.test(character)) {
      const digits = code.toString(16);
      if (code < 0x100) written += `\\x${digits.padStart(2, "0")}`;
      else written += code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
    } else written += character;
  }
  return quote + written + quote;
}

function floatRepr(value) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [digits, exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const plain = power < 0 ? value.toFixed(Math.max(0, digits.replace(/[-.]/g, "").length - 1 - power)) : String(value);
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** The name of Python's type of a value. */
export function typeName(value) {
  if (value === null) return "NoneType";
  const names = { bigint: "int", number: "float", string: "str", boolean: "bool" };
  return names[typeof value] ?? (Array.isArray(value) ? "list" : "dict");
}

/** Order of Python's sorted() for texts: by code points. */
export function byCodePoints(one, other) {
  const a = Array.from(one),
    b = Array.from(other);
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a[i] !== b[i]) return a[i].codePointAt(0) - b[i].codePointAt(0);
  }
  return a.length - b.length;
}

// ---------------------------------------------------------------------- JSON

/** The text is not JSON at all. */
export class NotJson extends UsageError {}

const SHORT = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", "/": "/" };
const CONSTANTS = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
];

/** Parse JSON with the values, the reach and the messages of Python's json module; a key given twice is refused. */
export function parseJson(text) {
  try {
    return new Parser(text).whole();
  } catch (error) {
    if (error instanceof RangeError) throw new NotJson("too many brackets inside each other");
    throw error;
  }
}

class Parser {
  constructor(text) {
    this.text = Array.from(text);
    this.at = 0;
  }

  fail(problem, at) {
    let line = 1,
      start = 0;
    for (let i = 0; i < at && i < this.text.length; i++) if (this.text[i] === "\n") [line, start] = [line + 1, i + 1];
    throw new NotJson(`${problem}: line ${line} column ${at - start + 1} (char ${at})`);
  }

  space() {
    while (this.at < this.text.length && " \t\n\r".includes(this.text[this.at])) this.at++;
  }

  whole() {
    this.space();
    const found = this.value();
    this.space();
    if (this.at < this.text.length) this.fail("Extra data", this.at);
    return found;
  }

  value() {
    const next = this.text[this.at];
    if (next === '"') return this.string();
    if (next === "{") return this.object();
    if (next === "[") return this.array();
    for (const [word, value] of CONSTANTS) {
      if (next === word[0] && this.text.slice(this.at, this.at + word.length).join("") === word) {
        this.at += word.length;
        return value;
      }
    }
    const rest = this.text.slice(this.at, this.at + 400).join("");
    const number = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/.exec(rest);
    if (!number) this.fail("Expecting value", this.at);
    this.at += number[0].length;
    return number[1] === undefined && number[2] === undefined ? BigInt(number[0]) : Number(number[0]);
  }

  array() {
    const found = [];
    this.at++;
    this.space();
    if (this.text[this.at] === "]") return (this.at++, found);
    for (;;) {
      found.push(this.value());
      this.space();
      if (this.text[this.at] === "]") return (this.at++, found);
      if (this.text[this.at] !== ",") this.fail("Expecting ',' delimiter", this.at);
      this.at++;
      this.space();
    }
  }

  object() {
    const found = new Map();
    let repeated = null;
    this.at++;
    this.space();
    if (this.text[this.at] === "}") return (this.at++, found);
    for (;;) {
      if (this.text[this.at] !== '"') this.fail("Expecting property name enclosed in double quotes", this.at);
      const key = this.string();
      this.space();
      if (this.text[this.at] !== ":") this.fail("Expecting ':' delimiter", this.at);
      this.at++;
      this.space();
      const value = this.value();
      if (found.has(key)) repeated ??= key;
      found.set(key, value);
      this.space();
      if (this.text[this.at] === "}") break;
      if (this.text[this.at] !== ",") this.fail("Expecting ',' delimiter", this.at);
      this.at++;
      this.space();
    }
    this.at++;
    if (repeated !== null) throw new UsageError(`${repr(repeated)} is given twice in one JSON object: give each once`);
    return found;
  }

  string() {
    const begin = this.at++;
    let found = "";
    for (;;) {
      const next = this.text[this.at];
      if (next === undefined) this.fail("Unterminated string starting at", begin);
      if (next === '"') return (this.at++, found);
      if (next < " ") this.fail("Invalid control character at", this.at);
      this.at++;
      if (next !== "\\") {
        found += next;
        continue;
      }
      const escape = this.text[this.at++];
      if (escape === undefined) this.fail("Unterminated string starting at", begin);
      if (escape !== "u") {
        if (SHORT[escape] === undefined) this.fail("Invalid \\escape", this.at - 2);
        found += SHORT[escape];
        continue;
      }
      const digits = this.text.slice(this.at, this.at + 4).join("");
      if (!/^[0-9A-Fa-f]{4}$/.test(digits)) this.fail("Invalid \\uXXXX escape", this.at - 1);
      found += String.fromCharCode(parseInt(digits, 16));
      this.at += 4;
    }
  }
}

/** JSON as Python writes it with sorted keys and no spaces: what digests are taken of. */
export function canonicalJson(value) {
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number")
    return { NaN: "NaN", Infinity: "Infinity", "-Infinity": "-Infinity" }[value] ?? repr(value);
  if (typeof value === "string") return asciiJson(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const keys = [...value.keys()].sort(byCodePoints);
  return `{${keys.map((key) => `${asciiJson(key)}:${canonicalJson(value.get(key))}`).join(",")}}`;
}

function asciiJson(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) =>
    unit === "\u007f" ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** SHA-256 of an ASCII text, in hexadecimal; the browser's own is not there on pages from disk everywhere. */
export function sha256(text) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  const k = primes.map((p) => fraction(Math.cbrt(p)));
  const hash = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
  const blocks = ((text.length + 8) >> 6) + 1;
  const words = new Int32Array(blocks * 16);
  for (let i = 0; i < text.length; i++) words[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
  words[text.length >> 2] |= 0x80 << (24 - 8 * (text.length & 3));
  words[words.length - 2] = Math.floor(text.length / 2 ** 29);
  words[words.length - 1] = text.length << 3;
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  const w = new Int32Array(64);
  for (let block = 0; block < blocks; block++) {
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      if (i < 16) w[i] = words[block * 16 + i];
      else {
        const s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >>> 3);
        const s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >>> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
      }
      const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => (hash[i] = (hash[i] + x) | 0));
  }
  return hash.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}
