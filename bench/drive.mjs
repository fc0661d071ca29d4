/** One measured run of a collector that serves, under load by wrk. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSecondsOf, residentBytesOf } from './program.mjs';
import { runWrk } from './wrk.mjs';

/**
 * Posts as fast as answers come, after a warm-up that does not count.
 * @param collector `url` and `pid`
 * @param load what `runWrk` takes, and `warm-up`, seconds
 * @returns what wrk saw, what the collector counted and cost, and whether the counts fit
 */
export async function drive({ url, pid }, load, eventsPerPost) {
  await runWrk(`${url}/v1/events`, { ...load, seconds: load['warm-up'] });
  const before = await readAccepted(url);
  const cpuBefore = cpuSecondsOf(pid);
  const answered = await runWrk(`${url}/v1/events`, load);
  const accepted = (await readAccepted(url)) - before;
  const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
  const good = answered.answers - answered.refused;
  // wrk leaves without waiting for the last answers: at most one post of each connection.
  const surplus = accepted - good * eventsPerPost;
  return {
    ...answered,
    accepted,
    surplus,
    isCountRight: surplus >= 0 && surplus <= load.connections * eventsPerPost,
    requestsPerSecond: good / answered.seconds,
    eventsPerSecond: (good * eventsPerPost) / answered.seconds,
    eventsPerCpuSecond: accepted / cpuSeconds,
    cpuMicrosPerEvent: (cpuSeconds * 1e6) / accepted,
    cores: cpuSeconds / answered.seconds,
    residentMiB: residentBytesOf(pid) / 1024 ** 2,
  };
}

/** Events accepted, once no post is in flight. */
export async function readAccepted(url) {
  for (;;) {
    const { in_flight, events } = await (await fetch(`${url}/status`)).json();
    if (in_flight.requests === 0) return events.accepted;
    await sleep(5);
  }
}
