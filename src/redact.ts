/** Takes secrets out of texts and values on their way to logs and reports. */

const censor = '[redacted]';

/** Names of properties whose values are never shown, in any notation: `clickhousePassword`, `x-api-key`. */
const secretName =
  /passw|secret|token$|authorization|api[-_]?key|private[-_]?key|credential|cookie|dsn$|idempotency[-_]?key|^headers$/i;

const maxDepth = 8;

/** Shorter ones would blot out text that has nothing to do with them. */
const shortestSecret = 6;

/** The user and password of a URL, secrets in its query, and what follows the name of a scheme of authentication. */
const forms: readonly (readonly [RegExp, string])[] = [
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s"\\/?#@]*(?:@[^\s"\\/?#@]*)*@/gi, `$1${censor}@`],
  [/([?&][\w-]*(?:password|passwd|token|secret|key|signature)=)[^&\s"\\#]+/gi, `$1${censor}`],
  [/\b(Bearer|Basic) +[\w.~+/-]{8,}=*/g, `$1 ${censor}`],
];

/** A copy of a value without what stands under the name of a secret. Only plain objects and arrays are looked into. */
export function redactNamed(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Error) return value;
  if ('toJSON' in value || ArrayBuffer.isView(value)) return value;
  if (depth === maxDepth) return '[too deep]';
  if (Array.isArray(value)) return value.map((item) => redactNamed(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      secretName.test(name) && !isEmpty(item) ? censor : redactNamed(item, depth + 1),
    ]),
  );
}

/** That a secret is not set is worth knowing, and so is whether a switch is on. */
function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || typeof value === 'boolean';
}

/** Secrets of this process that are not in its configuration. */
const remembered = new Set<string>();

/** Blots a secret out of all texts from now on: for one that was read after the log was opened. */
export function rememberSecret(secret: string): void {
  for (const form of formsOf(secret)) remembered.add(form);
}

/** As it is, and as it stands in JSON and in a URL; nothing for one that is too short to be looked for. */
function formsOf(secret: string): string[] {
  if (secret.length < shortestSecret) return [];
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
}

/** Makes the function that takes secrets out of a text, which may be JSON; `secrets` are those of this process. */
export function createScrubber(secrets: readonly string[] = []): (text: string) => string {
  const values = [...new Set(secrets.flatMap(formsOf))];
  return (text) => {
    const shaped = forms.reduce((line, [form, replacement]) => line.replace(form, replacement), text);
    return [...values, ...remembered].reduce((line, secret) => line.replaceAll(secret, censor), shaped);
  };
}
