/** Value types of options: each parses the text of a flag, a variable or a file, and names what it wants. */
import { z } from 'zod';

const byteUnits = { B: 1, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3, TIB: 1024 ** 4 } as const;
const durationUnits = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);

/** Where a server listens or a broker is. */
export interface Address {
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose. */
  readonly port: number;
}

/** Any text, at least one character. */
export const text = scalar.pipe(z.string().min(1, 'must not be empty'));

/** Any text, the empty one too. */
export const optionalText = scalar;

/** A whole number within a range, both ends included. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return scalar.transform((value, context) => {
    const number = Number(value);
    if (value.trim() !== '' && Number.isInteger(number) && number >= min && number <= max) return number;
    return fault(context, `must be a whole number ${range}, not '${value}'`);
  });
}

/** A number greater than zero. */
export const positiveNumber = scalar.transform((value, context) => {
  const number = Number(value);
  return number > 0 && Number.isFinite(number)
    ? number
    : fault(context, `must be a number above 0, not '${value}'`);
});

/** Yes or no. A flag without a value is yes, `--no-flag` is no. */
export const boolean = scalar.transform((value, context) => {
  if (['true', '1', 'yes', 'on'].includes(value.toLowerCase())) return true;
  if (['false', '0', 'no', 'off'].includes(value.toLowerCase())) return false;
  return fault(context, `must be true or false, not '${value}'`);
});

/** One of a few words. */
export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return scalar.transform((value, context): T[number] => {
    if (words.includes(value)) return value;
    return fault(context, `must be one of ${words.join(', ')}, not '${value}'`);
  });
}

/** A number of bytes: `500`, `64KiB`, `8MiB`, `2GiB`. */
export function bytes(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return scalar.transform((value, context) => {
    const match = /^(\d+)\s*([KMGT]iB|B)?$/i.exec(value.trim());
    const unit = (match?.[2] ?? 'B').toUpperCase() as keyof typeof byteUnits;
    const size = Number(match?.[1]) * byteUnits[unit];
    if (match !== null && size >= min && size <= max) return size;
    return fault(
      context,
      `must be a size of at least ${min} bytes, such as 500B, 64KiB, 8MiB or 2GiB, not '${value}'`,
    );
  });
}

/** A duration in milliseconds: `250ms`, `5s`, `10m`, `2h`, `7d`. */
export function duration(minMs: number, maxMs: number = Number.MAX_SAFE_INTEGER) {
  return scalar.transform((value, context) => {
    const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(value.trim());
    const unit = (match?.[2] ?? 'ms') as keyof typeof durationUnits;
    const ms = Math.round(Number(match?.[1]) * durationUnits[unit]);
    if (match !== null && ms >= minMs && ms <= maxMs) return ms;
    return fault(context, `must be a duration such as 250ms, 5s, 10m, 2h or 7d, not '${value}'`);
  });
}

/** How long something is kept: `always`, `never`, or a duration in milliseconds. */
export function keeping(minMs: number) {
  return scalar.transform((value, context): 'always' | 'never' | number => {
    if (value === 'always' || value === 'never') return value;
    const kept = duration(minMs).safeParse(value);
    return kept.success
      ? kept.data
      : fault(context, `must be always, never or a duration such as 30d, not '${value}'`);
  });
}

/** A moment as milliseconds since the epoch: a duration ago (`90s`, `1h`, `7d`), or an RFC 3339 time with a zone. */
export const time = scalar.transform((value, context) => {
  const ago = duration(0).safeParse(value);
  if (ago.success) return Date.now() - ago.data;
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(value.trim());
  const ms = isTime ? Date.parse(value.trim()) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  return fault(
    context,
    `must be a duration ago, such as 1h, or a time, such as 2026-01-31T08:00:00Z, not '${value}'`,
  );
});

/** A whole number, or two with a dash between: the ends of a range, both included. */
export const range = scalar.transform((value, context) => {
  const match = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(value.trim());
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match !== null && from <= to) return { from, to };
  return fault(context, `must be a number, such as 12, or a range, such as 12-40, not '${value}'`);
});

/** `host:port`; IPv6 hosts in brackets. */
export const address = scalar.transform((value, context): Address => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:\s/]+)):(\d{1,5})$/i.exec(value.trim());
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    return fault(context, `must be host:port, such as 127.0.0.1:8080, not '${value}'`);
  return { host: match[1] ?? match[2] ?? '', port };
});

/** Several `host:port`, separated by commas; a list in a file. */
export const addresses = z
  .union([scalar.transform((value) => value.split(',')), z.array(z.string())])
  .transform((list, context) => {
    const parsed = list.map((item) => address.safeParse(item.trim()));
    const bad = parsed.findIndex((result) => !result.success);
    if (list.length > 0 && bad === -1)
      return parsed.flatMap((result) => (result.success ? [result.data] : []));
    return fault(context, `must be host:port[,host:port...], not '${list.join(',')}'`);
  });

/** Names of hosts, separated by commas; a list in a file. Empty: none. */
export const hostNames = list(
  /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i,
  'a host name without a port, such as collector-1',
);

/** Origins of pages, separated by commas; a list in a file. Empty: none. */
export const origins = list(
  /^https?:\/\/[a-z0-9.-]+(:\d{1,5})?$/i,
  'an origin, such as https://console.example',
);

function list(item: RegExp, what: string) {
  return z
    .union([scalar.transform((value) => value.split(',')), z.array(z.string())])
    .transform((items, context) => {
      const given = items.map((text) => text.trim()).filter((text) => text !== '');
      const bad = given.find((text) => !item.test(text));
      return bad === undefined
        ? given
        : fault(context, `must be ${what}, or several separated by commas, not '${bad}'`);
    });
}

/** An http or https URL without a path, user or password. */
export const httpUrl = scalar.transform((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    return fault(context, `must be an http:// or https:// URL, not '${value}'`);
  }
  if (url.username !== '' || url.password !== '')
    return fault(context, 'must not contain a user or a password');
  if (url.pathname !== '/' || url.search !== '')
    return fault(context, `must have no path or query, not '${value}'`);
  return url;
});

/** An http or https URL that may have a path, without user or password. */
export const endpoint = scalar.transform((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    return fault(context, 'must be an http:// or https:// URL');
  if (url.username !== '' || url.password !== '')
    return fault(context, 'must not contain a user or a password');
  return url;
});

/** Where Sentry takes errors: `https://<key>@<host>/<project>`. */
export const dsn = scalar.transform((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isDsn = url !== undefined && /^https?:$/.test(url.protocol) && url.username !== '';
  if (isDsn && /\/\d+\/?$/.test(url.pathname)) return url;
  return fault(context, 'must be https://<key>@<host>/<project>');
});

/** A number from 0 to 1. */
export const ratio = scalar.transform((value, context) => {
  const number = value.trim() === '' ? Number.NaN : Number(value);
  return number >= 0 && number <= 1 ? number : fault(context, `must be a number from 0 to 1, not '${value}'`);
});

/** A path of a URL, without a query. */
export const urlPath = scalar.transform((value, context) => {
  if (/^\/[!-~]*$/.test(value) && !/[?#]/.test(value)) return value;
  return fault(context, `must be a path that begins with /, such as /v1/events, not '${value}'`);
});

/** The address as text, with brackets around IPv6. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function fault(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
