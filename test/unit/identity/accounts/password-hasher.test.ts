import { expect, test } from "vitest";
import { createPasswordHasher } from "../../../../src/identity/accounts/password-hasher.ts";
import { internalCall } from "../../../../src/kernel/call.ts";

test("a hasher runs two hashes, queues 32 and rejects the rest, and accepts again afterwards", async () => {
  const { signal } = internalCall();
  const hasher = createPasswordHasher();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 60 }, () => hasher.verify(undefined, "anything", signal)),
  );
  const rejections = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  // On a slow machine some of the queue is rejected too, after two seconds.
  expect(rejections.length).toBeGreaterThanOrEqual(26);
  expect(rejections.length).toBeLessThan(60);
  for (const error of rejections) {
    expect(error).toMatchObject({
      code: "unavailable",
      details: { reason: "PASSWORDS_BUSY", retryAfterMs: 1_000 },
    });
  }
  expect(await hasher.verify(undefined, "anything", signal)).toBe(false);
});
