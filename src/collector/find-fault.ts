/** Reads the text of an event token by token and finds what ClickHouse cannot hold of it, with its JSON Pointer. */
import type { Problem } from './problem.ts';

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const longText = 24;

/** Characters beyond which an integer has more than 64 bits, however it begins: JSON has no leading zeros. */
const longInteger = 20;
const maxUnsigned = 2n ** 64n - 1n;
const minSigned = -(2n ** 63n);
const maxSigned = 2n ** 63n - 1n;

/**
 * The first fault of a valid event; undefined when there is none.
 * @param keys how many keys it has once it is parsed
 * @param isSuspect whether more than the number of keys is to be looked at
 * @param signed properties whose numbers go into columns of Int64
 */
export function findFault(
  bytes: Buffer,
  keys: number,
  { isSuspect, signed }: { isSuspect: boolean; signed: ReadonlySet<string> },
): Problem | undefined {
  if (!isSuspect && countKeys(bytes) === keys) return undefined;
  return new FaultFinder(bytes.toString('utf8'), signed).find();
}

/** Keys in the text: colons outside of texts. Long texts are passed over at once. */
function countKeys(bytes: Buffer): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === colon) count++;
    else if (byte === quote) i = endOfText(bytes, i + 1);
  }
  return count;
}

/** Position of the quote that ends a text. */
function endOfText(bytes: Buffer, from: number): number {
  let i = from;
  for (const near = from + longText; i < near; i++) {
    const byte = bytes[i];
    if (byte === quote) return i;
    if (byte === backslash) i++;
  }
  for (;;) {
    const end = bytes.indexOf(quote, i);
    let slashes = 0;
    while (bytes[end - 1 - slashes] === backslash && end - 1 - slashes >= i) slashes++;
    if (end === -1 || slashes % 2 === 0) return end === -1 ? bytes.length : end;
    i = end + 1;
  }
}

/** A scope of paths: the event, or an object within an array. */
type Paths = Set<string>;

/** Goes through a text that `JSON.parse` has taken. */
class FaultFinder {
  readonly #text: string;
  readonly #signed: ReadonlySet<string>;
  #at = 0;
  #fault: Problem | undefined;

  constructor(text: string, signed: ReadonlySet<string>) {
    this.#text = text;
    this.#signed = signed;
  }

  find(): Problem | undefined {
    this.#value('', undefined, '');
    return this.#fault;
  }

  /** Reads a value: `pointer` is its JSON Pointer, `path` its dotted path among `paths`; a scope of its own without. */
  #value(pointer: string, paths: Paths | undefined, path: string): void {
    this.#space();
    const first = this.#text[this.#at];
    if (first === '{') this.#object(pointer, paths ?? new Set(), paths === undefined ? undefined : path);
    else if (first === '[') {
      this.#leaf(pointer, paths, path);
      this.#array(pointer);
    } else {
      const token = first === '"' ? this.#string() : this.#literal();
      if (token !== 'null') this.#leaf(pointer, paths, path);
      if (first !== '"') this.#number(pointer, token);
    }
    this.#space();
  }

  #object(pointer: string, paths: Paths, path: string | undefined): void {
    const names = new Set<string>();
    this.#at++;
    this.#space();
    while (this.#text[this.#at] === '"' && this.#fault === undefined) {
      const name = JSON.parse(this.#string()) as string;
      const own = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      const wellFormed = Buffer.from(own).toString();
      if (wellFormed !== own)
        this.#note(
          'INVALID_KEY',
          `${wellFormed} is a key with half a surrogate pair: a character cut in two`,
        );
      else if (names.has(name))
        this.#note('DUPLICATE_KEY', `${own} appears twice in its object; the limit is once`);
      names.add(name);
      this.#space();
      this.#at++;
      this.#value(own, paths, path === undefined ? name : `${path}.${name}`);
      if (this.#text[this.#at] === ',') this.#at++;
      this.#space();
    }
    this.#at++;
  }

  #array(pointer: string): void {
    this.#at++;
    this.#space();
    for (let i = 0; this.#text[this.#at] !== ']' && this.#fault === undefined; i++) {
      this.#value(`${pointer}/${i}`, undefined, '');
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  /** Of a path, null and objects without values may be there again. */
  #leaf(pointer: string, paths: Paths | undefined, path: string): void {
    if (paths === undefined) return;
    if (paths.has(path)) {
      const detail = `${pointer} would be stored at the path ${path}, which the event already has: a dot in a key stands for nesting; the limit is once`;
      this.#note('DUPLICATE_KEY', detail);
    }
    paths.add(path);
  }

  #number(pointer: string, token: string): void {
    if (!/^-?\d/.test(token)) return;
    const max = this.#signed.has(/^\/([^/]*)(\/\d+)?$/.exec(pointer)?.[1] ?? '') ? maxSigned : maxUnsigned;
    if (/^-?\d+$/.test(token)) {
      // Long ones are not computed: that takes the square of their digits.
      const number = token.length > longInteger ? undefined : BigInt(token);
      if (number !== undefined && number >= minSigned && number <= max) return;
      const detail = `${pointer} is an integer that does not fit in 64 bits; the limits are ${minSigned} and ${max}: send it as a string`;
      this.#note('NUMBER_OUT_OF_RANGE', detail);
    } else if (max === maxSigned && Number(token) >= 2 ** 63) {
      this.#note('NUMBER_OUT_OF_RANGE', `${pointer} is above the limit of ${max}`);
    } else if (!Number.isFinite(Number(token))) {
      this.#note(
        'NUMBER_OUT_OF_RANGE',
        `${pointer} is a number too large for a double; the limit is 1.7976931348623157e308`,
      );
    }
  }

  #note(code: Problem['code'], detail: string): void {
    this.#fault ??= { code, detail };
  }

  #string(): string {
    const start = this.#at++;
    while (this.#text[this.#at] !== '"') this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #literal(): string {
    const start = this.#at;
    while (this.#at < this.#text.length && !/[\s,\]}]/.test(this.#text.charAt(this.#at))) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #space(): void {
    while (/\s/.test(this.#text.charAt(this.#at))) this.#at++;
  }
}
