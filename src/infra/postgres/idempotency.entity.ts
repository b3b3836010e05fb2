import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "./columns.ts";

/** The first answer to a request_id, kept to be given again. */
export const IdempotencyEntity = defineEntity({
  name: "Idempotency",
  tableName: "idempotency",
  properties: {
    method: p.text().primary(),
    /** Whose request_id it is; empty when nobody's. */
    owner: p.text().primary(),
    requestId: p.uuid().primary(),
    fingerprint: p.blob(),
    response: p.blob().nullable(),
    createdAt: timestamp().defaultRaw("now()"),
  },
  indexes: [{ name: "idempotency_created", properties: ["createdAt"] }],
});
