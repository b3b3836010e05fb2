import { describe, expect, test } from "vitest";
import type { TokenPair } from "../../../../src/identity/identity.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { DAY_MS } from "../../../../src/kernel/durations.ts";
import {
  callAs,
  countValidRefreshTokens,
  credentialStatus,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";

const refresh = ({ identity }: IdentityInstance, token: string): Promise<TokenPair> =>
  identity.refresh(callAs(), token);

describe("refresh token rotation", () => {
  test("a refresh token is exchanged for the next one, and only its hash is stored", async () => {
    const instance = await openIdentity();
    const { tokens, principal, account } = await registerAccount(instance);
    let token = tokens.refreshToken;
    for (let rotation = 0; rotation < 3; rotation += 1) {
      const next = await refresh(instance, token);
      expect(next.refreshToken).not.toBe(token);
      expect(await instance.identity.authenticate(next.accessToken)).toEqual(principal);
      token = next.refreshToken;
    }
    const [row] = await instance.database.query<{ text: string; generation: number; account_id: string }>(
      "select session::text as text, generation, account_id from session",
    );
    expect(row).toMatchObject({ generation: 4, account_id: account.id });
    for (const issued of [tokens.refreshToken, token]) {
      const randomPart = Buffer.from(issued.slice(3), "base64url").toString("hex", 20, 52);
      expect(row?.text).not.toContain(randomPart);
    }
    expect(await countValidRefreshTokens(instance)).toBe(1);
  });

  test("two concurrent uses of a refresh token give at most one token pair, and revoke the session", async () => {
    const instance = await openIdentity();
    for (let round = 0; round < 10; round += 1) {
      const { tokens } = await registerAccount(instance);
      const outcomes = await Promise.allSettled([
        refresh(instance, tokens.refreshToken),
        refresh(instance, tokens.refreshToken),
      ]);
      const issued = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      expect(issued.length).toBeLessThanOrEqual(1);
      // The later use counts as reuse, so that the pair of the earlier one is revoked too.
      for (const { accessToken, refreshToken } of issued) {
        expect(await credentialStatus(instance, accessToken)).toBe("SESSION_ENDED");
        expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
      }
    }
    expect(await countValidRefreshTokens(instance)).toBe(0);
  });

  test("reusing a rotated refresh token revokes its session with all its tokens, and no other session", async () => {
    const instance = await openIdentity();
    const { tokens: first, email, password } = await registerAccount(instance);
    const other = (await instance.identity.signIn(callAs(), { email, password })).tokens;
    const second = await refresh(instance, first.refreshToken);
    const third = await refresh(instance, second.refreshToken);
    expect(await credentialStatus(instance, third.accessToken)).toBe("VALID");
    expect(await rejectionReason(() => refresh(instance, first.refreshToken))).toBe("REFRESH_TOKEN_REUSED");
    for (const { accessToken } of [first, second, third]) {
      expect(await credentialStatus(instance, accessToken)).toBe("SESSION_ENDED");
    }
    for (const { refreshToken } of [third, first]) {
      expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
    }
    expect(await credentialStatus(instance, other.accessToken)).toBe("VALID");
    await refresh(instance, other.refreshToken);
    expect(await countValidRefreshTokens(instance)).toBe(1);
  });

  test("a forged refresh token is rejected and revokes nothing", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const rotated = tokens.refreshToken;
    const { refreshToken } = await refresh(instance, rotated);
    const bytes = Buffer.from(rotated.slice(3), "base64url");
    const withFlippedBit = (offset: number) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt8((copy.at(offset) ?? 0) ^ 1, offset);
      return `cr_${copy.toString("base64url")}`;
    };
    const forgeries = [
      ...[0, 15, 16, 19, 20, 51, 52, 83].map(withFlippedBit),
      rotated.slice(0, -1),
      `${rotated}A`,
      rotated.slice(3),
      `ck_${rotated.slice(3)}`,
      `${rotated}=`,
      `${rotated} `,
      "cr_",
      "x",
      tokens.accessToken,
    ];
    for (const forged of forgeries) {
      const calls = [() => refresh(instance, forged), () => instance.identity.signOut(callAs(), forged)];
      for (const call of calls) expect(await rejectionReason(call), forged).toBe("REFRESH_TOKEN_INVALID");
    }
    await refresh(instance, refreshToken);
  });

  test("a session expires 30 days after its last refresh, and its row is deleted 30 days later", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    let { refreshToken } = (await registerAccount(instance)).tokens;
    for (let rotation = 0; rotation < 3; rotation += 1) {
      clock.advance(29 * DAY_MS);
      ({ refreshToken } = await refresh(instance, refreshToken));
    }
    clock.advance(30 * DAY_MS);
    expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
    clock.advance(29 * DAY_MS);
    await instance.identity.purgeExpired(internalCall());
    expect(await instance.database.query("select from session")).toHaveLength(1);
    clock.advance(2 * DAY_MS);
    await instance.identity.purgeExpired(internalCall());
    expect(await instance.database.query("select from session")).toHaveLength(0);
    expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
  });

  test("a refresh token of a deleted customer is rejected but not rotated", async () => {
    const instance = await openIdentity();
    const { tokens, account } = await registerAccount(instance);
    await instance.customers.delete(internalCall(), account.customerId, "");
    expect(await rejectionReason(() => refresh(instance, tokens.refreshToken))).toBe("SESSION_ENDED");
    await instance.customers.undelete(internalCall(), account.customerId, "");
    await refresh(instance, tokens.refreshToken);
  });
});
