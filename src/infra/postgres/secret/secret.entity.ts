import { defineEntity, p } from "@mikro-orm/postgresql";

/** A random key that all replicas share. */
export const SecretEntity = defineEntity({
  name: "Secret",
  tableName: "secret",
  properties: { name: p.text().primary(), value: p.blob() },
});
