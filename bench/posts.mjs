/** What benchmarks post. */

/** The classic event. */
export const event = '{"event":"view","os":"linux","browser":"chrome"}';

/** Kinds of posts: media type, events in each, body. */
export const postKinds = {
  single: { name: 'single', type: 'application/json', events: 1, body: event },
  batch: { name: 'batch', type: 'application/x-ndjson', events: 100, body: `${event}\n`.repeat(100) },
};
