import { deserialize, serialize } from "node:v8";
import { sql } from "kysely";
import { fingerprint } from "../../kernel/canonical-json.ts";
import { type AppError, invalidField } from "../../kernel/errors.ts";
import type { Tx } from "./postgres.ts";

/** Whose request it is, and which. An empty `requestId` is nobody's and is never remembered. */
export interface RequestKey {
  method: string;
  owner: string;
  requestId: string;
}

/** What a method returns, and whether it was returned before. */
export interface IdempotentResult<T> {
  result: T;
  replayed: boolean;
}

/**
 * Does `work` once for a request_id, in the caller's transaction: the answer is kept beside its effects, both
 * or neither, and given again to a repeat. A repeat that comes while the first is still at work waits for it
 * at the primary key. Dates and bigints in the answer survive (V8's serialization, which promises to read
 * what older versions wrote).
 * @throws INVALID_ARGUMENT when the request_id was used for another body
 */
export async function runIdempotent<T>(
  tx: Tx,
  key: RequestKey,
  request: unknown,
  work: () => Promise<T>,
): Promise<IdempotentResult<T>> {
  if (key.requestId === "") return { result: await work(), replayed: false };
  const body = fingerprint(request);
  const fresh = await tx.query(sql<{ one: number }>`
    insert into idempotency (method, owner, request_id, fingerprint)
    values (${key.method}, ${key.owner}, ${key.requestId}, ${body})
    on conflict do nothing
    returning 1 as one`);
  if (fresh.length === 1) {
    const result = await work();
    await tx.em.flush();
    await tx.query(sql`
      update idempotency set response = ${serialize(result)}
      where method = ${key.method} and owner = ${key.owner} and request_id = ${key.requestId}`);
    return { result, replayed: false };
  }
  const [first] = await tx.query(sql<{ fingerprint: Buffer; response: Buffer }>`
    select fingerprint, response from idempotency
    where method = ${key.method} and owner = ${key.owner} and request_id = ${key.requestId}`);
  if (first === undefined || !body.equals(first.fingerprint)) {
    throw requestIdReused();
  }
  return { result: deserialize(first.response) as T, replayed: true };
}

/** INVALID_ARGUMENT for a request_id that stands for another request. */
export function requestIdReused(): AppError {
  return invalidField(
    "request_id",
    "was used before for another request. Make a new UUID for each new request.",
    "REQUEST_ID_REUSED",
  );
}
