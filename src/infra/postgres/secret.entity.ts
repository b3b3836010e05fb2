import { defineEntity, p } from "@mikro-orm/postgresql";

/** Keys that all replicas share, made at first start. */
export const SecretEntity = defineEntity({
  name: "Secret",
  tableName: "secret",
  properties: { name: p.text().primary(), value: p.blob() },
});
