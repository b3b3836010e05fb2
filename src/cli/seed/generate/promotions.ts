import { DAY_MS } from "../../../kernel/durations.ts";
import { seedId } from "./seed-id.ts";

/** Age of the oldest order at the first run of the seed. The ended promotion began then. */
export const HISTORY_MS = 90 * DAY_MS;
/** Age of the ended promotion's end at the first run. */
export const ENDED_AGE_MS = 60 * DAY_MS;
/** Age of the active promotion at the first run. It has no end. */
export const ACTIVE_AGE_MS = 30 * DAY_MS;
/** Time from the first run to the scheduled promotion, and its duration. */
export const SCHEDULED_IN_MS = 30 * DAY_MS;
export const SCHEDULED_DURATION_MS = DAY_MS;

/** Ids of the three promotions. */
export const PROMOTION_IDS = {
  ended: seedId("promotion", 1),
  active: seedId("promotion", 2),
  scheduled: seedId("promotion", 3),
};

/** Returns the promotion at a time before the first run; undefined between the two. */
export function findPromotionAt(ageMs: number): string | undefined {
  if (ageMs > ENDED_AGE_MS) return PROMOTION_IDS.ended;
  return ageMs < ACTIVE_AGE_MS ? PROMOTION_IDS.active : undefined;
}
