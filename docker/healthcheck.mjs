/** Health check of the image, which has no curl: ends with 0 when the process at this port of the container is ready. */
const port = process.argv[2] ?? '8080';

try {
  const signal = AbortSignal.timeout(2_500);
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal });
  if (!answer.ok) fail(`${answer.status}: ${await answer.text()}`);
} catch (error) {
  fail(error.cause?.message ?? error.message);
}

function fail(reason) {
  process.stdout.write(`not ready: ${reason}\n`);
  process.exitCode = 1;
}
