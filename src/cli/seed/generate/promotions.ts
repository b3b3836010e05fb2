import type { ClientBase } from "pg";
import { seedId } from "./seed-id.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** How long before the shop was first seeded the oldest order was placed, milliseconds. */
export const HISTORY_MS = 90 * DAY_MS;
/** How long before that the running promotion began, milliseconds. It has no end, so it runs for whoever comes. */
export const ACTIVE_MS = 30 * DAY_MS;
/** How long before that the first promotion was over, milliseconds. */
const ENDED_MS = 60 * DAY_MS;

/** The ended one, the one that runs, and the one to come. */
const [ENDED, ACTIVE, SCHEDULED] = [1, 2, 3].map((number) => seedId("promotion", number));

/**
 * Writes the promotions that are missing. Those that are there keep their times, whenever the seed is
 * repeated, and what is added then is dated as if it had come with the first run.
 * @param now the time of a first run; it counts from the full hour before
 * @returns the time of the first run, milliseconds since 1970
 */
export async function writePromotions(client: ClientBase, now: Date): Promise<number> {
  const hour = now.getTime() - (now.getTime() % HOUR_MS);
  const at = (ms: number) => new Date(hour + ms).toISOString();
  await client.query(
    `insert into promotion (id, name, start_at, end_at, purchase_limit, purchase_limit_per_user, created_at)
     values
       ($1, 'Opening Offers', $4, $5, 0, 0, $4),
       ($2, 'Member Days', $6, null, 0, 0, $6),
       ($3, 'Midnight Sale', $7, $8, 1000, 2, $6)
     on conflict do nothing`,
    [
      ENDED,
      ACTIVE,
      SCHEDULED,
      at(-HISTORY_MS),
      at(-ENDED_MS),
      at(-ACTIVE_MS),
      at(ACTIVE_MS),
      at(ACTIVE_MS + DAY_MS),
    ],
  );
  const { rows } = await client.query<{ start_at: Date }>("select start_at from promotion where id = $1", [
    ACTIVE,
  ]);
  return (rows[0]?.start_at.getTime() ?? hour - ACTIVE_MS) + ACTIVE_MS;
}

/** The promotion that ran so many milliseconds before the first run; undefined in the time between two. */
export function findPromotionAt(ageMs: number): string | undefined {
  if (ageMs > ENDED_MS) return ENDED;
  return ageMs < ACTIVE_MS ? ACTIVE : undefined;
}
