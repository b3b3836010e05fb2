import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const PREFIX = "cr_";
const ID_BYTES = 16;
const GENERATION_BYTES = 4;
const RANDOM_BYTES = 32;
const BODY_BYTES = ID_BYTES + GENERATION_BYTES + RANDOM_BYTES;
const SEAL_BYTES = 32;

/** What a refresh token of ours says. */
export interface RefreshToken {
  sessionId: string;
  /** Which one of its session it is, from 1. */
  generation: number;
}

/**
 * Refresh tokens: `cr_` and base64url of the session's id, the token's number, 32 random bytes and our seal
 * (HMAC-SHA-256) upon them. By the seal we know a token that is spent, without having kept it.
 */
export interface RefreshTokenCodec {
  make(sessionId: string, generation: number): string;
  /** Undefined for what is not of our making. */
  read(token: string): RefreshToken | undefined;
}

/** @param key secret that all replicas share */
export function createRefreshTokenCodec(key: Buffer): RefreshTokenCodec {
  const seal = (body: Buffer): Buffer => createHmac("sha256", key).update(body).digest();
  return {
    make(sessionId, generation) {
      const body = Buffer.concat([
        Buffer.from(sessionId.replaceAll("-", ""), "hex"),
        Buffer.alloc(GENERATION_BYTES),
        randomBytes(RANDOM_BYTES),
      ]);
      body.writeUInt32BE(generation, ID_BYTES);
      return PREFIX + Buffer.concat([body, seal(body)]).toString("base64url");
    },
    read(token) {
      const bytes = Buffer.from(token.slice(PREFIX.length), "base64url");
      // The text is compared too: base64url readers skip what they do not know, and a token has one form.
      if (bytes.length !== BODY_BYTES + SEAL_BYTES || PREFIX + bytes.toString("base64url") !== token) {
        return undefined;
      }
      const body = bytes.subarray(0, BODY_BYTES);
      if (!timingSafeEqual(seal(body), bytes.subarray(BODY_BYTES))) return undefined;
      const hex = body.toString("hex", 0, ID_BYTES);
      const sessionId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      return { sessionId, generation: body.readUInt32BE(ID_BYTES) };
    },
  };
}
