import { deserialize, serialize } from "node:v8";
import { sql } from "kysely";
import { fingerprint, hashJson } from "../../../kernel/canonical-json.ts";
import { type AppError, invalidField } from "../../../kernel/errors.ts";
import type { Tx } from "../postgres.ts";
import { prepare } from "../statement.ts";

/** Identifies a request. With an empty `requestId` it has no identity, and its result is not stored. */
export interface RequestKey {
  method: string;
  /** The caller that the request_id belongs to; empty for the service itself. */
  owner: string;
  requestId: string;
}

/** The result of a method, and whether it is that of an earlier request. */
export interface IdempotentResult<T> {
  result: T;
  replayed: boolean;
}

const CLAIM = prepare<[method: string, owner: string, requestId: string, fingerprint: Buffer], object>(
  (method, owner, requestId, body) => sql`
    insert into idempotency (method, owner, request_id, fingerprint)
    values (${method}, ${owner}, ${requestId}, ${body})
    on conflict do nothing
    returning 1 as claimed`,
);
const STORE_RESULT = prepare<
  [
    result: Buffer,
    tags: readonly string[] | null,
    generation: Buffer,
    method: string,
    owner: string,
    requestId: string,
  ],
  object
>(
  (result, tags, generation, method, owner, requestId) => sql`
    update idempotency set response = ${result}, tags = ${tags}::text[], generation = ${generation}
    where method = ${method} and owner = ${owner} and request_id = ${requestId}`,
);
const FIND_RESULT = prepare<
  [method: string, owner: string, requestId: string],
  { fingerprint: Buffer; response: Buffer; tags: string[] | null; generation: Buffer | null }
>(
  (method, owner, requestId) => sql`
    select fingerprint, response, tags, generation from idempotency
    where method = ${method} and owner = ${owner} and request_id = ${requestId}`,
);

/**
 * Runs `work` once for each request_id, in the caller's transaction: its result is stored together with its effects
 * and returned to repeats, which also repeat its invalidation of cache tags unless that is complete. A concurrent repeat
 * waits at the primary key for the first one to commit. V8's serialization preserves dates and bigints, and reads the
 * format of older versions.
 * @param request the content of the request, which must be the same in a repeat
 * @throws AppError invalid_argument when the request_id was used for another request
 */
export async function runIdempotent<T>(
  tx: Tx,
  { method, owner, requestId }: RequestKey,
  request: unknown,
  work: () => Promise<T>,
): Promise<IdempotentResult<T>> {
  if (requestId === "") return { result: await work(), replayed: false };
  const body = fingerprint(request);
  const claimed = await tx.query(CLAIM(method, owner, requestId, body));
  if (claimed.length === 1) {
    const result = await work();
    await tx.em.flush();
    const { tags, generation } = tx.invalidation();
    const storedTags = tags.length === 0 ? null : tags;
    await tx.query(STORE_RESULT(serialize(result), storedTags, generation, method, owner, requestId));
    return { result, replayed: false };
  }
  const [stored] = await tx.query(FIND_RESULT(method, owner, requestId));
  const isSame =
    stored !== undefined && (body.equals(stored.fingerprint) || hashJson(request).equals(stored.fingerprint));
  if (!isSame) throw requestIdReused();
  // The process of the first request may have died between its commit and the invalidation.
  const { response, tags, generation } = stored;
  if (tags !== null && generation !== null) tx.repeatInvalidation({ tags, generation });
  return { result: deserialize(response), replayed: true };
}

/** Returns INVALID_ARGUMENT for a request_id that was used for another request. */
export function requestIdReused(): AppError {
  return invalidField(
    "request_id",
    "was used before for another request. Generate a new UUID for each new request.",
    "REQUEST_ID_REUSED",
  );
}
