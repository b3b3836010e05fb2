import { createHmac, timingSafeEqual } from "node:crypto";
import { DAY_MS } from "../../kernel/durations.ts";

/** A key that signs order tokens. */
export interface OrderTokenKey {
  /** Digits, which the tokens name. */
  id: string;
  /** The tokens of orders that are created from this time on are signed with the key, until a newer one is valid. */
  validFrom: Date;
  secret: Buffer;
}

/** The tokens that give access to one order each. */
export interface OrderTokens {
  /** Returns the token of an order: the same text each time, so that a repeated request gets the same response. */
  issue(orderId: string, createTime: Date): string;
  /** Returns whether a token is that of an order and has not expired. */
  verify(token: string, orderId: string, now: Date): boolean;
}

/** Time from the creation of an order to the expiry of its token. */
const VALIDITY_MS = 180 * DAY_MS;

/** Key id, expiry in seconds since 1970, and HMAC-SHA256 in base64url. */
const TOKEN = /^(\d{1,12})\.(\d{1,12})\.([\w-]{43})$/;

/**
 * Creates the order tokens. A token is the id of its key, its expiry and an HMAC of both and the order's id; the key and
 * the expiry follow from the time at which the order was created.
 * @param keys at least one. Orders that are older than all of them get tokens of the oldest one
 */
export function createOrderTokens(keys: readonly OrderTokenKey[]): OrderTokens {
  const newestFirst = keys.toSorted((one, other) => other.validFrom.getTime() - one.validFrom.getTime());
  const oldest = newestFirst.at(-1);
  if (oldest === undefined) throw new Error("order tokens need a key");
  const keysById = new Map(keys.map((key) => [key.id, key]));
  return {
    issue(orderId, createTime) {
      const key = newestFirst.find(({ validFrom }) => validFrom <= createTime) ?? oldest;
      const expiry = String(Math.floor((createTime.getTime() + VALIDITY_MS) / 1_000));
      return `${key.id}.${expiry}.${sign(key, expiry, orderId)}`;
    },
    verify(token, orderId, now) {
      const [, keyId = "", expiry = "", signature = ""] = TOKEN.exec(token) ?? [];
      const key = keysById.get(keyId);
      if (key === undefined || now.getTime() >= Number(expiry) * 1_000) return false;
      // As text: several texts are the base64url of the same bytes.
      return timingSafeEqual(Buffer.from(signature), Buffer.from(sign(key, expiry, orderId)));
    },
  };
}

function sign({ id, secret }: OrderTokenKey, expiry: string, orderId: string): string {
  const text = `order-token ${id} ${expiry} ${orderId.toLowerCase()}`;
  return createHmac("sha256", secret).update(text).digest("base64url");
}
