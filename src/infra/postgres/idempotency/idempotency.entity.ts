import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../columns.ts";

/** The first result for a request_id, returned to repeats. */
export const IdempotencyEntity = defineEntity({
  name: "Idempotency",
  tableName: "idempotency",
  properties: {
    method: p.text().primary(),
    /** The caller that the request_id belongs to; empty for the service itself. */
    owner: p.text().primary(),
    requestId: p.uuid().primary(),
    fingerprint: p.blob(),
    response: p.blob().nullable(),
    /** The cache tags that the request has changed, null for none, and the generation of their invalidation. */
    tags: p.array().nullable(),
    generation: p.blob().nullable(),
    createdAt: timestamp().defaultRaw("now()"),
  },
  indexes: [{ name: "idempotency_created", properties: ["createdAt"] }],
});
