import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** Who can sign in. The email is the customer's. */
export const AccountEntity = defineEntity({
  name: "Account",
  tableName: "account",
  properties: {
    id: p.uuid().primary(),
    customerId: p.uuid(),
    /** Argon2id, in its own notation. */
    passwordHash: p.text(),
    role: p.text(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "account_customer_unique", properties: ["customerId"] }],
  checks: [{ name: "account_role_known", expression: "role in ('CUSTOMER', 'STAFF', 'ADMIN')" }],
});

/**
 * A session: a family of refresh tokens, of which the last one is good. Those before it are known by their
 * number and by our own seal upon them, so that none has to be kept (invariant I8).
 */
export const SessionEntity = defineEntity({
  name: "Session",
  tableName: "session",
  properties: {
    id: p.uuid().primary(),
    accountId: p.uuid(),
    /** SHA-256 of the token that is good; null once the session has ended. */
    refreshHash: p.blob().nullable(),
    /** How many tokens there were. */
    generation: p.integer(),
    clientAddress: p.text(),
    userAgent: p.text(),
    createdAt: timestamp(),
    refreshedAt: timestamp(),
    expiresAt: timestamp(),
    endedAt: timestamp().nullable(),
  },
  indexes: [
    { name: "session_account", properties: ["accountId", "id"] },
    { name: "session_expires", properties: ["expiresAt"] },
  ],
  checks: [
    { name: "session_ended_without_token", expression: "(ended_at is null) = (refresh_hash is not null)" },
  ],
});

/** What another service shows. */
export const ApiKeyEntity = defineEntity({
  name: "ApiKey",
  tableName: "api_key",
  properties: {
    id: p.uuid().primary(),
    serviceAccount: p.text(),
    scopes: p.array(),
    /** SHA-256. The secret is random, so that nothing slower is needed. */
    secretHash: p.blob(),
    secretPrefix: p.text(),
    createdAt: timestamp(),
    expiresAt: timestamp().nullable(),
    revokedAt: timestamp().nullable(),
  },
  uniques: [{ name: "api_key_secret_unique", properties: ["secretHash"] }],
});

/** The public half of a key by which some instance signs access tokens: all of them honour it until it expires. */
export const SigningKeyEntity = defineEntity({
  name: "SigningKey",
  tableName: "signing_key",
  properties: {
    id: p.text().primary(),
    /** A JWK (RFC 8037). Of those that are revoked nothing but this row is left, with JSON's null and 1970 as its end. */
    publicKey: p.json(),
    createdAt: timestamp(),
    expiresAt: timestamp(),
  },
});

/** Sign-ins that have failed and are still held against an account or an address, known or not. */
export const SignInFailureEntity = defineEntity({
  name: "SignInFailure",
  tableName: "sign_in_failure",
  properties: {
    /** A hash of the email, with the place it was tried from or without, or of the address. */
    subject: p.blob().primary(),
    failures: p.integer(),
    /** No further try before. */
    blockedUntil: timestamp(),
    /** From when they leak. */
    updatedAt: timestamp(),
  },
  indexes: [{ name: "sign_in_failure_updated", properties: ["updatedAt"] }],
});
