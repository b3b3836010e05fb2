import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { anonymous } from "../../../../src/kernel/principal.ts";
import {
  callAs,
  countValidRefreshTokens,
  createSharedStores,
  credentialStatus,
  openIdentity,
  type RegisteredAccount,
  registerAccount,
  rejectionReason,
  waitUntilCached,
} from "../../../support/identity/identity-instance.ts";

const firstPage = { pageSize: 0, pageToken: "" };

describe("sessions", () => {
  test("signing out revokes the session by its current or rotated refresh token or its access token, any number of times", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const signIns = [
      async () => {
        const { tokens } = await registerAccount(instance);
        return { tokens, signOut: () => identity.signOut(callAs(), tokens.refreshToken) };
      },
      async () => {
        const { tokens: first } = await registerAccount(instance);
        const tokens = await identity.refresh(callAs(), first.refreshToken);
        return { tokens, signOut: () => identity.signOut(callAs(), first.refreshToken) };
      },
      async () => {
        const { tokens, principal } = await registerAccount(instance);
        return { tokens, signOut: () => identity.signOut(callAs(principal), "") };
      },
    ];
    for (const signIn of signIns) {
      const { tokens, signOut } = await signIn();
      expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
      await signOut();
      await signOut();
      expect(await credentialStatus(instance, tokens.accessToken)).toBe("SESSION_ENDED");
      const refresh = () => identity.refresh(callAs(), tokens.refreshToken);
      expect(await rejectionReason(refresh)).toBe("SESSION_ENDED");
    }
    expect(await countValidRefreshTokens(instance)).toBe(0);
    expect(await rejectionReason(() => identity.signOut(callAs(anonymous), ""))).toBe("SIGN_IN_REQUIRED");
  });

  test("the active sessions of an account are listed to its owner, newest first, in pages", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, principal } = await registerAccount(instance);
    await registerAccount(instance);
    const userAgent = `${"a".repeat(199)}\u{1f9ee}`;
    const call = { ...callAs(undefined, "192.0.2.7"), userAgent };
    const { tokens } = await identity.signIn(call, { email, password });
    const listed = await identity.listSessions(callAs(principal), firstPage);
    expect(listed.items).toHaveLength(2);
    expect(listed.items[0]).toMatchObject({ clientAddress: "192.0.2.7", current: false });
    expect(listed.items[0]?.userAgent).toBe(`${"a".repeat(199)}\ufffd`);
    expect(listed.items[1]).toMatchObject({ current: true, userAgent: "test" });
    const first = await identity.listSessions(callAs(principal), { pageSize: 1, pageToken: "" });
    const secondPage = { pageSize: 1, pageToken: first.nextPageToken };
    const second = await identity.listSessions(callAs(principal), secondPage);
    expect([...first.items, ...second.items]).toEqual(listed.items);
    expect(second.nextPageToken).toBe("");
    const otherAccount = (await registerAccount(instance)).principal;
    const stolen = () => identity.listSessions(callAs(otherAccount), secondPage);
    expect(await rejectionReason(stolen)).toBe("PAGE_TOKEN_INVALID");
    await identity.signOut(callAs(), tokens.refreshToken);
    expect((await identity.listSessions(callAs(principal), firstPage)).items).toEqual([listed.items[1]]);
  });

  test("a session can be revoked by its owner only", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, principal } = await registerAccount(instance);
    const { tokens } = await identity.signIn(callAs(), { email, password });
    const [session] = (await identity.listSessions(callAs(principal), firstPage)).items;
    const id = session?.id ?? "";
    const otherAccount = (await registerAccount(instance)).principal;
    const revokeAs = (caller: typeof principal) => () => identity.revokeSession(callAs(caller), id);
    expect(await rejectionReason(revokeAs(otherAccount))).toBe("SESSION_NOT_FOUND");
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
    await revokeAs(principal)();
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("SESSION_ENDED");
    expect(await rejectionReason(revokeAs(principal))).toBe("SESSION_NOT_FOUND");
  });

  test("the 101st active session of an account revokes the oldest", async () => {
    const instance = await openIdentity();
    const { identity, database } = instance;
    const { tokens, email, password, principal } = await registerAccount(instance);
    await database.query(
      `insert into session select gen_random_uuid(), account_id, decode(md5(n::text), 'hex'), 1, '', '',
         created_at, refreshed_at, expires_at, null from session, generate_series(1, 98) as n`,
    );
    // The random ids are larger than that of the registration, so its session is the oldest.
    await database.query(
      "update session set id = overlay(id::text placing 'f' from 1)::uuid where generation = 1 and client_address = ''",
    );
    await identity.signIn(callAs(), { email, password });
    expect(await countValidRefreshTokens(instance)).toBe(100);
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
    await identity.signIn(callAs(), { email, password });
    expect(await countValidRefreshTokens(instance)).toBe(100);
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("SESSION_ENDED");
    expect((await identity.listSessions(callAs(principal), firstPage)).items).toHaveLength(20);
  });

  const revocations: [
    string,
    (instance: Awaited<ReturnType<typeof openIdentity>>, account: RegisteredAccount) => Promise<unknown>,
  ][] = [
    ["sign-out", ({ identity }, { tokens }) => identity.signOut(callAs(), tokens.refreshToken)],
    [
      "deletion of the customer",
      ({ customers }, { account }) => customers.delete(internalCall(), account.customerId, ""),
    ],
    [
      "reuse of a refresh token",
      async ({ identity }, { tokens }) => {
        await identity.refresh(callAs(), tokens.refreshToken);
        await rejectionReason(() => identity.refresh(callAs(), tokens.refreshToken));
      },
    ],
  ];
  test.each(revocations)(
    "a %s at one replica invalidates the cached session at the other",
    async (_, revoke) => {
      const stores = await createSharedStores();
      const one = await openIdentity({ stores });
      const two = await openIdentity({ stores });
      const account = await registerAccount(one);
      const { accessToken } = account.tokens;
      await waitUntilCached([one, two], accessToken);
      await revoke(two, account);
      expect(await credentialStatus(two, accessToken)).toBe("SESSION_ENDED");
      // Long before the cached principal expires, after ten minutes.
      await expect.poll(() => credentialStatus(one, accessToken), { timeout: 30_000 }).toBe("SESSION_ENDED");
    },
  );
});
