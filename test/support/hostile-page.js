/**
 * What a web page can do with an address of another site, run by a browser: loaded as a classic script. Each way ends
 * when the browser is done with the request, and gives what the page came to know of the answer.
 */

const element = (name, properties) =>
  new Promise((resolve) => {
    const made = Object.assign(document.createElement(name), properties);
    made.addEventListener('load', () => resolve('loaded'));
    made.addEventListener('error', () => resolve('failed'));
    document.body.append(made);
  });

/** @param options those of fetch */
const read = async (url, options) => {
  try {
    const response = await fetch(url, options);
    return { type: response.type, status: response.status, text: await response.text() };
  } catch (error) {
    return String(error);
  }
};

const submit = async (url, method, enctype, fields) => {
  const target = `frame${Math.random()}`;
  const frame = Object.assign(document.createElement('iframe'), { name: target });
  document.body.append(frame);
  const form = Object.assign(document.createElement('form'), { action: url, method, enctype, target });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement('textarea'), { name, value }));
  }
  document.body.append(form);
  const loaded = new Promise((resolve) => frame.addEventListener('load', () => resolve('loaded')));
  form.submit();
  return await loaded;
};

window.read = read;
window.ways = {
  image: (url) => element('img', { src: url }),
  script: (url) => element('script', { src: url }),
  module: (url) => element('script', { src: url, type: 'module' }),
  'style sheet': (url) => element('link', { href: url, rel: 'stylesheet' }),
  frame: (url) => element('iframe', { src: url }),
  video: (url) => element('video', { src: url, preload: 'auto' }),
  'fetch without CORS': (url) => read(url, { mode: 'no-cors' }),
  'fetch with CORS': (url) => read(url, { mode: 'cors' }),
  'fetch with a password': (url) =>
    read(url, { headers: { 'x-clickhouse-user': 'default', 'x-clickhouse-key': 'a guess' } }),
  window: async (url) => void window.open(url),
  'form by GET': (url) => submit(url, 'GET', '', Object.fromEntries(new URL(url).searchParams)),
  'form by POST': (url, sql) => submit(url, 'POST', 'text/plain', { [sql]: '' }),
  'fetch by POST without CORS': (url, sql) => read(url, { method: 'POST', mode: 'no-cors', body: sql }),
  'fetch by POST with CORS': (url, sql) => read(url, { method: 'POST', body: sql }),
  beacon: async (url, sql) => navigator.sendBeacon(url, sql),
};
