import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  callAs,
  createTestClock,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const DAY_MS = 24 * 3_600_000;
const refresh = ({ identity }: IdentityInstance, token: string) => identity.refresh(callAs(), token);
const statusOf = ({ identity }: IdentityInstance, accessToken: string) =>
  rejectionReason(() => identity.authenticate(accessToken)).catch(() => "GOOD");
/** Refresh tokens that are good, of all sessions (invariant I8). */
const good = async ({ database }: IdentityInstance) =>
  (await database.query<{ id: string }>("select id from session where refresh_hash is not null")).length;

describe("a refresh token", () => {
  test("gets the next ones, each once, and only its hash is kept", async () => {
    const instance = await openIdentity();
    const { tokens, principal, account } = await registerAccount(instance);
    let token = tokens.refreshToken;
    for (let n = 0; n < 3; n += 1) {
      const next = await refresh(instance, token);
      expect(next.refreshToken).not.toBe(token);
      expect(await instance.identity.authenticate(next.accessToken)).toEqual(principal);
      token = next.refreshToken;
    }
    const [row] = await instance.database.query<{ text: string; generation: number; account_id: string }>(
      "select session::text as text, generation, account_id from session",
    );
    expect(row).toMatchObject({ generation: 4, account_id: account.id });
    for (const one of [tokens.refreshToken, token]) {
      // Its random part.
      expect(row?.text).not.toContain(Buffer.from(one.slice(3), "base64url").toString("hex", 20, 52));
    }
    expect(await good(instance)).toBe(1);
  });

  test("used by two at once is good for one, or ends the session for both", async () => {
    const instance = await openIdentity();
    for (let round = 0; round < 10; round += 1) {
      const { tokens } = await registerAccount(instance);
      const [a, b] = await Promise.allSettled([
        refresh(instance, tokens.refreshToken),
        refresh(instance, tokens.refreshToken),
      ]);
      const won = [a, b].flatMap((one) => (one?.status === "fulfilled" ? [one.value] : []));
      expect(won.length).toBeLessThanOrEqual(1);
      // The second one came too late, whoever it was: what the first one got has ended by that.
      for (const { accessToken, refreshToken } of won) {
        expect(await statusOf(instance, accessToken)).toBe("SESSION_ENDED");
        expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
      }
    }
    expect(await good(instance)).toBe(0);
  });

  test("used again later ends its session: neither its refresh token nor its access tokens are good", async () => {
    const instance = await openIdentity();
    const { tokens, email, password } = await registerAccount(instance);
    const other = (await instance.identity.signIn(callAs(), { email, password })).tokens;
    const second = await refresh(instance, tokens.refreshToken);
    const third = await refresh(instance, second.refreshToken);
    expect(await statusOf(instance, third.accessToken)).toBe("GOOD");
    expect(await rejectionReason(() => refresh(instance, tokens.refreshToken))).toBe("REFRESH_TOKEN_REUSED");
    for (const { accessToken } of [tokens, second, third]) {
      expect(await statusOf(instance, accessToken)).toBe("SESSION_ENDED");
    }
    for (const { refreshToken } of [third, tokens]) {
      expect(await rejectionReason(() => refresh(instance, refreshToken))).toBe("SESSION_ENDED");
    }
    // Other sessions have nothing to do with it.
    expect(await statusOf(instance, other.accessToken)).toBe("GOOD");
    await refresh(instance, other.refreshToken);
    expect(await good(instance)).toBe(1);
  });

  test("that is not ours is refused and ends nothing, however like ours it looks", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const spent = tokens.refreshToken;
    const { refreshToken } = await refresh(instance, spent);
    const bytes = Buffer.from(spent.slice(3), "base64url");
    const changed = (at: number) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt8((copy.at(at) ?? 0) ^ 1, at);
      return `cr_${copy.toString("base64url")}`;
    };
    const forgeries = [
      ...[0, 15, 16, 19, 20, 51, 52, 83].map(changed),
      ...[spent.slice(0, -1), `${spent}A`, spent.slice(3), `ck_${spent.slice(3)}`, `${spent}=`, `${spent} `],
      ...["cr_", "x", tokens.accessToken],
    ];
    for (const forged of forgeries) {
      expect(await rejectionReason(() => refresh(instance, forged)), forged).toBe("REFRESH_TOKEN_INVALID");
      expect(await rejectionReason(() => instance.identity.signOut(callAs(), forged)), forged).toBe(
        "REFRESH_TOKEN_INVALID",
      );
    }
    await refresh(instance, refreshToken);
  });

  test("is good for 30 days from the last refresh, and its row goes 30 days after that", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    let { refreshToken } = (await registerAccount(instance)).tokens;
    for (let n = 0; n < 3; n += 1) {
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

  test("of a deleted customer is refused and not spent", async () => {
    const instance = await openIdentity();
    const { tokens, account } = await registerAccount(instance);
    await instance.customers.remove(internalCall(), account.customerId, "");
    expect(await rejectionReason(() => refresh(instance, tokens.refreshToken))).toBe("SESSION_ENDED");
    await instance.customers.restore(internalCall(), account.customerId, "");
    await refresh(instance, tokens.refreshToken);
  });
});
