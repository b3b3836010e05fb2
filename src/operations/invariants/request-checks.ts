import type { Check } from "./check.ts";

/** Checks of the remembered requests. */
export const requestChecks: readonly Check[] = [
  {
    name: "request-results",
    invariant: "I4",
    description: "Each remembered request has its result.",
    query: `
      select 'requests/' || request_id as resource, method, owner, created_at
      from idempotency where response is null`,
  },
];
