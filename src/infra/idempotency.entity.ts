import { defineEntity, p } from "@mikro-orm/postgresql";

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
    createdAt: p.datetime().columnType("timestamptz(3)").defaultRaw("now()"),
  },
  indexes: [{ name: "idempotency_created", properties: ["createdAt"] }],
});

/** Keys that all replicas share, made at first start. */
export const SecretEntity = defineEntity({
  name: "Secret",
  tableName: "secret",
  properties: { name: p.text().primary(), value: p.blob() },
});
