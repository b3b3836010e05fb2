import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { HOUR_MS } from "../../../kernel/durations.ts";
import {
  ACTIVE_AGE_MS,
  ENDED_AGE_MS,
  HISTORY_MS,
  PROMOTION_IDS,
  SCHEDULED_DURATION_MS,
  SCHEDULED_IN_MS,
} from "../generate/promotions.ts";

/**
 * Writes the missing promotions. Existing ones keep their times, and rows that a later run adds are dated relative to
 * the first run.
 * @param now time of a first run, rounded down to the hour
 * @returns the time of the first run, in milliseconds since 1970
 */
export async function writePromotions(tx: Tx, now: Date): Promise<number> {
  const originMs = now.getTime() - (now.getTime() % HOUR_MS);
  const at = (offsetMs: number) => new Date(originMs + offsetMs);
  const { ended, active, scheduled } = PROMOTION_IDS;
  const scheduledEndMs = SCHEDULED_IN_MS + SCHEDULED_DURATION_MS;
  await tx.query(sql`
    insert into promotion (id, name, start_at, end_at, purchase_limit, purchase_limit_per_user, created_at)
    values
      (${ended}, 'Opening Offers', ${at(-HISTORY_MS)}, ${at(-ENDED_AGE_MS)}, 0, 0, ${at(-HISTORY_MS)}),
      (${active}, 'Member Days', ${at(-ACTIVE_AGE_MS)}, null, 0, 0, ${at(-ACTIVE_AGE_MS)}),
      (${scheduled}, 'Midnight Sale', ${at(SCHEDULED_IN_MS)}, ${at(scheduledEndMs)}, 1000, 2, ${at(-ACTIVE_AGE_MS)})
    on conflict do nothing`);
  const [stored] = await tx.query(sql<{ startMs: number }>`
    select (extract(epoch from start_at) * 1000)::float8 as "startMs" from promotion where id = ${active}`);
  return (stored?.startMs ?? originMs - ACTIVE_AGE_MS) + ACTIVE_AGE_MS;
}
