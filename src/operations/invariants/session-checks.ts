import type { Check } from "./check.ts";

/** Checks of sessions. */
export const sessionChecks: readonly Check[] = [
  {
    name: "session-tokens",
    invariant: "I8",
    description: "A session has one refresh token until it ends, and none afterwards.",
    query: `
      select 'sessions/' || id as resource, ended_at, refresh_hash is not null as has_refresh_token, generation
      from session where (ended_at is null) <> (refresh_hash is not null)`,
  },
  {
    name: "refresh-tokens",
    invariant: "I8",
    description: "Each refresh token belongs to one session.",
    query: `
      select 'sessions/' || min(id::text) as resource, count(*) as sessions
      from session where refresh_hash is not null group by refresh_hash having count(*) > 1`,
  },
];
