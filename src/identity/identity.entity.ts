import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** A person who can sign in. The email is the customer's. */
export const AccountEntity = defineEntity({
  name: "Account",
  tableName: "account",
  properties: {
    id: p.uuid().primary(),
    customerId: p.uuid(),
    /** Argon2id in the PHC string format. */
    passwordHash: p.text(),
    role: p.text(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "account_customer_unique", properties: ["customerId"] }],
  checks: [{ name: "account_role_known", expression: "role in ('CUSTOMER', 'STAFF', 'ADMIN')" }],
});

/**
 * A session: a family of refresh tokens, of which only the latest is valid. Earlier ones are recognized by their
 * generation and signature, so that none of them is stored (invariant I8).
 */
export const SessionEntity = defineEntity({
  name: "Session",
  tableName: "session",
  properties: {
    id: p.uuid().primary(),
    accountId: p.uuid(),
    /** SHA-256 of the valid refresh token; null once the session has ended. */
    refreshHash: p.blob().nullable(),
    /** Number of refresh tokens issued. */
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

/** The credential of another service. */
export const ApiKeyEntity = defineEntity({
  name: "ApiKey",
  tableName: "api_key",
  properties: {
    id: p.uuid().primary(),
    serviceAccount: p.text(),
    scopes: p.array(),
    /** SHA-256. The secret is random, so no slow hash is needed. */
    secretHash: p.blob(),
    secretPrefix: p.text(),
    createdAt: timestamp(),
    expiresAt: timestamp().nullable(),
    revokedAt: timestamp().nullable(),
  },
  uniques: [{ name: "api_key_secret_unique", properties: ["secretHash"] }],
});

/** The public half of an instance's signing key, valid in all instances until it expires. */
export const SigningKeyEntity = defineEntity({
  name: "SigningKey",
  tableName: "signing_key",
  properties: {
    id: p.text().primary(),
    /** A JWK (RFC 8037); JSON null for a revoked key, whose row stays with 1970 as its expiry. */
    publicKey: p.json(),
    createdAt: timestamp(),
    expiresAt: timestamp(),
  },
});

/** Failed sign-ins that still count against an account or an address, whether the account exists or not. */
export const SignInFailureEntity = defineEntity({
  name: "SignInFailure",
  tableName: "sign_in_failure",
  properties: {
    /** Hash of the email, with or without the network of the attempt, or of the address. */
    subject: p.blob().primary(),
    failures: p.integer(),
    /** Attempts before this time are rejected. */
    blockedUntil: timestamp(),
    /** The time from which the failures leak. */
    updatedAt: timestamp(),
  },
  indexes: [{ name: "sign_in_failure_updated", properties: ["updatedAt"] }],
});
