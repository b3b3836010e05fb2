import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import { keysetCondition, keysetOrder, NEWEST_ID_FIRST } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, invalidField, notFound } from "../../kernel/errors.ts";
import { assertPresent } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { ApiKeyEntity } from "../identity.entity.ts";
import { hashSecret } from "../tokens/secret-hash.ts";

/** The credential of another service, without its secret. */
export interface ApiKey {
  id: string;
  serviceAccount: string;
  /** Names of `Scope` values without their prefix, such as `ORDERS_READ`. */
  scopes: readonly string[];
  /** First characters of the secret, by which administrators identify a key. */
  secretPrefix: string;
  createTime: Date;
  /** Undefined for a key that does not expire. */
  expireTime: Date | undefined;
  /** Undefined for a key that is not revoked. */
  revokeTime: Date | undefined;
}

/** The fields of a new API key. */
export interface ApiKeyInput {
  serviceAccount: string;
  scopes: readonly string[];
  /** Undefined for a key that does not expire. */
  expireTime: Date | undefined;
}

/** API keys of other services. */
export interface ApiKeys {
  /**
   * Creates a key and returns it with its secret, which is not stored.
   * @throws AppError invalid_argument for missing fields and for an expiry in the past
   */
  create(call: Call, input: ApiKeyInput): Promise<{ apiKey: ApiKey; secret: string }>;
  /** Lists all keys, revoked and expired ones included, newest first. */
  list(call: Call, page: PageRequest): Promise<Page<ApiKey>>;
  /**
   * Revokes a key, effective immediately.
   * @throws AppError not_found when there is none, failed_precondition when it is already revoked
   */
  revoke(call: Call, id: string): Promise<ApiKey>;
}

/** Dependencies of the API keys. */
export interface ApiKeysOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

interface ApiKeyRow {
  id: string;
  service_account: string;
  scopes: string[];
  secret_prefix: string;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
}

/** Prefix of secrets, which distinguishes them from access tokens and lets scanners find leaked ones. */
export const API_KEY_PREFIX = "ck_";
const SECRET_BYTES = 32;
/** Length of the stored prefix of a secret, `ck_` included. */
const STORED_PREFIX_LENGTH = 9;

const COLUMNS = sql.raw("id, service_account, scopes, secret_prefix, created_at, expires_at, revoked_at");
/**
 * Returns the cache tag of what depends on a key.
 * @param hash hash of its secret, because authentication needs the tag before it has read the id
 */
export const apiKeyTag = (hash: Buffer): string => `api-key:${hash.toString("hex", 0, 16)}`;

/** Creates the store of API keys. */
export function createApiKeys({ db, ids, clock, tokens }: ApiKeysOptions): ApiKeys {
  return {
    create(call, input) {
      const { serviceAccount, expireTime } = input;
      const scopes = [...new Set(input.scopes)].sort();
      assertPresent({ "api_key.service_account": serviceAccount, "api_key.scopes": scopes });
      const now = clock.now();
      if (expireTime !== undefined && expireTime <= now) {
        throw invalidField("api_key.expire_time", "must be in the future.");
      }
      const secret = API_KEY_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
      const apiKey: ApiKey = {
        id: ids(),
        serviceAccount,
        scopes,
        secretPrefix: secret.slice(0, STORED_PREFIX_LENGTH),
        createTime: now,
        expireTime,
        revokeTime: undefined,
      };
      return db.transact(call, async (tx) => {
        tx.em.create(ApiKeyEntity, {
          id: apiKey.id,
          serviceAccount,
          scopes,
          secretHash: hashSecret(secret),
          secretPrefix: apiKey.secretPrefix,
          createdAt: now,
          expiresAt: expireTime ?? null,
        });
        return { apiKey, secret };
      });
    },

    async list(call, page) {
      const query = { list: "api-keys" };
      const size = resolvePageSize(page.pageSize);
      const isNext = allOf([keysetCondition(NEWEST_ID_FIRST, tokens.readCursor(page.pageToken, query))]);
      const statement = sql<ApiKeyRow>`
        select ${COLUMNS} from api_key where ${isNext} ${keysetOrder(NEWEST_ID_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, ({ id }) => [id], apiKeyFromRow);
    },

    revoke(call, id) {
      return db.transact(call, async (tx) => {
        const [row] = await tx.query(sql<ApiKeyRow & { secret_hash: Buffer }>`
          update api_key set revoked_at = ${clock.now()} where id = ${id} and revoked_at is null
          returning ${COLUMNS}, secret_hash`);
        if (row !== undefined) {
          tx.invalidate(apiKeyTag(row.secret_hash));
          return apiKeyFromRow(row);
        }
        const existing = await tx.query(sql`select from api_key where id = ${id}`);
        throw existing.length === 0 ? notFound("api_key", id) : alreadyRevoked(id);
      });
    },
  };
}

function alreadyRevoked(id: string): AppError {
  const description = "already revoked";
  return new AppError("failed_precondition", `API key ${id} is ${description}.`, {
    reason: "API_KEY_REVOKED",
    preconditions: [{ type: "REVOKED", subject: `api-keys/${id}`, description }],
  });
}

function apiKeyFromRow(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    serviceAccount: row.service_account,
    scopes: row.scopes,
    secretPrefix: row.secret_prefix,
    createTime: new Date(row.created_at),
    expireTime: toDate(row.expires_at),
    revokeTime: toDate(row.revoked_at),
  };
}

const toDate = (time: string | null): Date | undefined => (time === null ? undefined : new Date(time));
