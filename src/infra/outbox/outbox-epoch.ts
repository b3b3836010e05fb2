import type { ClientBase } from "pg";
import type { Log } from "../../kernel/log.ts";
import { ALL_TAGS, newGeneration } from "../cache/redis-tier.ts";
import { invalidationTopic, type PublishedInvalidation } from "./invalidation/invalidation-topic.ts";

/**
 * Starts a new epoch of the outbox if the database was restored to another server, whose transaction ids are unrelated
 * to the stored ones. Responses that were cached from the former database become stale.
 */
export async function ensureOutboxEpoch(client: ClientBase, log: Log): Promise<void> {
  const { rows } = await client.query<{ advanced: boolean }>("select advance_outbox_epoch() as advanced");
  if (rows[0]?.advanced !== true) return;
  const data: PublishedInvalidation = {
    tags: [ALL_TAGS],
    generation: newGeneration().toString("base64"),
    throttled: [],
  };
  const events = JSON.stringify([{ topic: invalidationTopic.name, data }]);
  await client.query("select append_outbox($1)", [events]);
  log.info({}, "Database was moved to another server; outbox epoch started");
}
