// Watches an order until it ends, while servers are replaced and access tokens expire.
import { setTimeout as sleep } from "node:timers/promises";
import { Code, createClient, errorDetails, OrderEventTypeSchema } from "cartwright-client";

/** The server stops or is unavailable, the access token has expired, or the access of the caller has changed. */
const RESUMABLE = new Set([Code.Unavailable, Code.Unauthenticated, Code.Aborted]);
const MAX_FAILURES = 10;

const [baseUrl = "http://localhost:8080", id = ""] = process.argv.slice(2);
// The session refreshes the access token, and each watch sends the current one. With tokens from elsewhere, set `token`
// to a function that returns the current one: createClient({ baseUrl, token: () => readToken() }).
const shop = createClient({ baseUrl });
await shop.session.signIn({ email: "customer@example.com", password: process.env.PASSWORD ?? "" });

let afterSequence = 0n;
let failures = 0;
for (let isOpen = true; isOpen; ) {
  try {
    for await (const { events } of shop.orders.watchOrder({ id, afterSequence })) {
      failures = 0;
      for (const { sequence, type } of events) {
        console.log(`${sequence} ${OrderEventTypeSchema.value[type]?.localName}`);
        afterSequence = sequence;
      }
    }
    isOpen = false;
  } catch (error) {
    const { code, retryDelayMs = 0 } = errorDetails(error);
    failures += 1;
    if (!RESUMABLE.has(code) || failures > MAX_FAILURES) throw error;
    await sleep(retryDelayMs + Math.random() * Math.min(5_000, 100 * 2 ** failures));
  }
}
