import type { Database } from "../../infra/postgres/postgres.ts";
import { getSharedSecret, listSharedSecrets } from "../../infra/postgres/secret/shared-secret.ts";
import type { Call } from "../../kernel/call.ts";
import type { OrderTokenKey } from "./order-token.ts";

/** Prefix of the names of the keys. What follows is when a key becomes valid, in seconds since 1970, and its id. */
const PREFIX = "order-token/";

/** Returns the keys of order tokens, which all replicas share. The first call creates one that has always been valid. */
export async function readOrderTokenKeys(db: Database, call: Call): Promise<OrderTokenKey[]> {
  await getSharedSecret(db, call, `${PREFIX}0`);
  const secrets = await listSharedSecrets(db, call, PREFIX);
  return secrets.map(({ name, value }) => {
    const id = name.slice(PREFIX.length);
    return { id, validFrom: new Date(Number(id) * 1_000), secret: value };
  });
}
