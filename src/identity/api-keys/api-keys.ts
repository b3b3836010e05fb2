import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import { type Database, prepared } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, invalidField, notFound } from "../../kernel/errors.ts";
import { assertPresent } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { ApiKeyEntity } from "../identity.entity.ts";
import { hashSecret } from "../tokens/secret-hash.ts";

/** What another service shows. */
export interface ApiKey {
  id: string;
  serviceAccount: string;
  /** As the contract spells them, without SCOPE_. */
  scopes: readonly string[];
  secretPrefix: string;
  createTime: Date;
  expireTime: Date | undefined;
  revokeTime: Date | undefined;
}

/** What an admin says of a new key. */
export interface ApiKeyInput {
  serviceAccount: string;
  scopes: readonly string[];
  /** Absent: it does not end by itself. */
  expireTime: Date | undefined;
}

interface ReadRow {
  id: string;
  service_account: string;
  scopes: string[];
  secret_prefix: string;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
}

/** What secrets begin with, by which they are told from access tokens, and found where they do not belong. */
export const KEY_PREFIX = "ck_";
const SECRET_BYTES = 32;
/** How much of a secret may be shown: of 43 characters behind the prefix. */
const SHOWN = 9;

const COLUMNS = "id, service_account, scopes, secret_prefix, created_at, expires_at, revoked_at";
// A page begins before an id; the first one before the highest there is.
const LIST = prepared(`select ${COLUMNS} from api_key where id < $1 order by id desc limit $2`);
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** What answers about a key are made of. @param hash of its secret, from which alone it is known at first */
export const apiKeyTag = (hash: Buffer): string => `api-key:${hash.toString("hex", 0, 16)}`;

/** What the keys are made of. */
export interface ApiKeysOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

/** The keys of other services. */
export function createApiKeys({ db, ids, clock, tokens }: ApiKeysOptions) {
  return {
    /** A new key, and its secret, which is not kept. INVALID_ARGUMENT for one that has ended already. */
    create(call: Call, input: ApiKeyInput): Promise<{ apiKey: ApiKey; secret: string }> {
      const { serviceAccount, expireTime } = input;
      const scopes = [...new Set(input.scopes)].sort();
      assertPresent({ "api_key.service_account": serviceAccount, "api_key.scopes": scopes });
      const now = clock.now();
      if (expireTime !== undefined && expireTime <= now) {
        throw invalidField("api_key.expire_time", "is over. Name a time to come, or none.");
      }
      const secret = KEY_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
      const [id, secretPrefix] = [ids(), secret.slice(0, SHOWN)];
      const row = { id, serviceAccount, scopes, secretPrefix, createdAt: now, expiresAt: expireTime ?? null };
      return db.transact(call, async (tx) => {
        tx.em.create(ApiKeyEntity, { ...row, secretHash: hashSecret(secret) });
        const apiKey = { id, serviceAccount, scopes, secretPrefix, createTime: now, expireTime };
        return { apiKey: { ...apiKey, revokeTime: undefined }, secret };
      });
    },

    /** All keys, newest first; the revoked and expired ones too. */
    async list(call: Call, page: PageRequest): Promise<Page<ApiKey>> {
      const query = { list: "api-keys" };
      const size = resolvePageSize(page.pageSize);
      const [before = HIGHEST_ID] = tokens.readCursor(page.pageToken, query) ?? [];
      const rows = await db.read<ReadRow>(call, LIST, [before, size + 1]);
      return tokens.createPage(rows, size, query, ({ id }) => [id], fromRow);
    },

    /** Ends one at once. NOT_FOUND when there is none, FAILED_PRECONDITION when it was revoked before. */
    revoke(call: Call, id: string): Promise<ApiKey> {
      return db.transact(call, async (tx) => {
        const [row] = await tx.query(sql<ReadRow & { secret_hash: Buffer }>`
          update api_key set revoked_at = ${clock.now()} where id = ${id} and revoked_at is null
          returning ${sql.raw(COLUMNS)}, secret_hash`);
        if (row !== undefined) {
          tx.invalidate(apiKeyTag(row.secret_hash));
          return fromRow(row);
        }
        const known = await tx.query(sql`select 1 from api_key where id = ${id}`);
        throw known.length === 0 ? notFound("api_key", id) : revokedBefore(id);
      });
    },
  };
}

function revokedBefore(id: string): AppError {
  const description = "it was revoked before";
  return new AppError("failed_precondition", `API key ${id} is no longer good: ${description}.`, {
    reason: "API_KEY_REVOKED",
    preconditions: [{ type: "REVOKED", subject: `api-keys/${id}`, description }],
  });
}

const optional = (time: string | null): Date | undefined => (time === null ? undefined : new Date(time));

function fromRow(row: ReadRow): ApiKey {
  return {
    id: row.id,
    serviceAccount: row.service_account,
    scopes: row.scopes,
    secretPrefix: row.secret_prefix,
    createTime: new Date(row.created_at),
    expireTime: optional(row.expires_at),
    revokeTime: optional(row.revoked_at),
  };
}
