import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const PREFIX = "cr_";
const ID_BYTES = 16;
const GENERATION_BYTES = 4;
const RANDOM_BYTES = 32;
const BODY_BYTES = ID_BYTES + GENERATION_BYTES + RANDOM_BYTES;
const SIGNATURE_BYTES = 32;

/** The content of a refresh token. */
export interface RefreshToken {
  sessionId: string;
  /** Position of the token in its session's family, from 1. */
  generation: number;
}

/**
 * Encodes refresh tokens: `cr_` and base64url of the session id, the generation, 32 random bytes and a signature over
 * them (HMAC-SHA-256). The signature identifies a token that has been rotated out, so that reuse is detected without
 * storing old tokens.
 */
export interface RefreshTokenCodec {
  /** Returns a new token. */
  encode(token: RefreshToken): string;
  /** Returns the content of a token; undefined when its form or its signature is wrong. */
  decode(text: string): RefreshToken | undefined;
}

/** @param key secret that all replicas share */
export function createRefreshTokenCodec(key: Buffer): RefreshTokenCodec {
  const sign = (body: Buffer): Buffer => createHmac("sha256", key).update(body).digest();
  return {
    encode({ sessionId, generation }) {
      const body = Buffer.concat([
        Buffer.from(sessionId.replaceAll("-", ""), "hex"),
        Buffer.alloc(GENERATION_BYTES),
        randomBytes(RANDOM_BYTES),
      ]);
      body.writeUInt32BE(generation, ID_BYTES);
      return PREFIX + Buffer.concat([body, sign(body)]).toString("base64url");
    },
    decode(text) {
      const bytes = Buffer.from(text.slice(PREFIX.length), "base64url");
      // Compared as text too: base64url decoding skips invalid characters, and a token has one form only.
      const isCanonical = PREFIX + bytes.toString("base64url") === text;
      if (bytes.length !== BODY_BYTES + SIGNATURE_BYTES || !isCanonical) return undefined;
      const body = bytes.subarray(0, BODY_BYTES);
      if (!timingSafeEqual(sign(body), bytes.subarray(BODY_BYTES))) return undefined;
      const hex = body.toString("hex", 0, ID_BYTES);
      const sessionId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      return { sessionId, generation: body.readUInt32BE(ID_BYTES) };
    },
  };
}
