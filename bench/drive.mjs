/** Measured runs of a collector under load by wrk. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { postKinds } from './posts.mjs';
import { cpuSecondsOf, residentBytesOf } from './program.mjs';
import { topicPrefix } from './site.mjs';
import { runWrk } from './wrk.mjs';

/**
 * Starts a collector with a buffer of its own, so that none inherits a heap or a log from the one before; calls `use`
 * with it and with its directory; ends it and removes what it wrote.
 * @param id names the run among those of this benchmark
 * @param settings further ones for the contender
 */
export async function withCollector({ contender, site, id, ...settings }, use) {
  const dataDir = join(site.dir, id);
  await mkdir(dataDir, { recursive: true });
  const collector = await contender.start({ topic: `${topicPrefix}-${id}`, dataDir, ...settings });
  try {
    return await use(collector, dataDir);
  } finally {
    await collector.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/**
 * Posts as fast as answers come, after a warm-up that does not count.
 * @param collector `url` and `pid`
 * @param load what `runWrk` takes, and `warm-up`, seconds
 * @param posts kind of the posts
 * @returns what wrk saw, what the collector counted and cost, and whether the counts fit
 */
export async function drive(collector, load, posts) {
  await warmUp(collector, load);
  return await driveWarm(collector, load, posts);
}

/** Posts for `warm-up` seconds. */
export async function warmUp({ url }, load) {
  await runWrk(`${url}/v1/events`, { ...load, seconds: load['warm-up'] });
}

/** `drive` without the warm-up. */
export async function driveWarm({ url, pid }, load, posts) {
  const eventsPerPost = postKinds[posts].events;
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
    cpuSeconds,
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

/** Why a run makes a benchmark fail: the collector counted otherwise than it answered. */
export function describeMismatch({ program, buffer, posts, round, accepted, answers, refused, surplus }) {
  return `round ${round}, ${program}, ${buffer}, ${posts} posts: ${answers - refused} good answers, ${accepted} events accepted: ${surplus} more than answered`;
}
