import UAParser from 'ua-parser-js';

/** What a user agent string tells. Lower-case names, as `mobile safari` and `mac os`; absent when unknown. */
export interface ClientNames {
  readonly browser?: string;
  readonly os?: string;
}

/** Names the browser and the operating system of a user agent string. */
export type NameUserAgent = (userAgent: string) => ClientNames;

/**
 * Makes a {@link NameUserAgent} that remembers its answers: reading a user agent takes some hundred regular
 * expressions, and a log repeats few of them. It holds at most `maxEntries`, then forgets the least recent.
 */
export function createUserAgentNames(maxEntries = 10_000): NameUserAgent {
  const known = new Map<string, ClientNames>();
  return (userAgent) => {
    const names = known.get(userAgent) ?? readNames(userAgent);
    // A map keeps the order of insertion, so the entry moves to the end and the first is the least recent.
    known.delete(userAgent);
    known.set(userAgent, names);
    if (known.size > maxEntries) known.delete(known.keys().next().value ?? userAgent);
    return names;
  };
}

function readNames(userAgent: string): ClientNames {
  const parser = new UAParser(userAgent);
  const browser = parser.getBrowser().name?.toLowerCase();
  const os = parser.getOS().name?.toLowerCase();
  return { ...(browser === undefined ? {} : { browser }), ...(os === undefined ? {} : { os }) };
}
