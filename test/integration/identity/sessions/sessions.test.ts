import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { anonymous } from "../../../../src/kernel/principal.ts";
import {
  callAs,
  createSharedStores,
  type IdentityInstance,
  newEmail,
  openIdentity,
  registerAccount,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const page = { pageSize: 0, pageToken: "" };
const refresh = ({ identity }: IdentityInstance, token: string) => identity.refresh(callAs(), token);
const statusOf = ({ identity }: IdentityInstance, accessToken: string) =>
  rejectionReason(() => identity.authenticate(accessToken)).catch(() => "GOOD");
/** Refresh tokens that are good, of all sessions (invariant I8). */
const good = async ({ database }: IdentityInstance) =>
  (await database.query<{ id: string }>("select id from session where refresh_hash is not null")).length;

describe("a registration", () => {
  test("makes a customer and an account that is signed in", async () => {
    const instance = await openIdentity();
    const { email, account, principal } = await registerAccount(instance);
    expect(account).toMatchObject({ email, name: "Ada", role: "CUSTOMER" });
    expect(await instance.identity.getMe(callAs(principal))).toEqual(account);
    expect(await instance.customers.get(internalCall(), account.customerId, false)).toMatchObject({ email });
  });

  test("twice at once makes one account, and nothing of the other", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    const outcomes = await Promise.allSettled(
      [email, email.toUpperCase(), email, email].map((one) =>
        instance.identity.register(callAs(), { email: one, name: "Ada", password: "correct horse" }),
      ),
    );
    const refused = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    expect(refused).toHaveLength(3);
    for (const error of refused) {
      expect(error).toMatchObject({ code: "already_exists", details: { reason: "EMAIL_TAKEN" } });
    }
    for (const table of ["customer", "account", "session"]) {
      expect(await instance.database.query(`select from ${table}`), table).toHaveLength(1);
    }
  });

  test("with the email of a customer whom staff made is refused", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    const made = { customer: { email, name: "Ada" }, requestId: "", validateOnly: false };
    await instance.customers.create(internalCall(), made);
    const register = () =>
      instance.identity.register(callAs(), { email, name: "Mallory", password: "correct horse" });
    expect(await rejectionReason(register)).toBe("EMAIL_TAKEN");
  });
});

describe("a session", () => {
  test("ends by its refresh token, spent or not, or by its access token; again that does nothing", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const signOuts = [
      async () => {
        const { tokens } = await registerAccount(instance);
        return { tokens, signOut: () => identity.signOut(callAs(), tokens.refreshToken) };
      },
      async () => {
        const { tokens: first } = await registerAccount(instance);
        const tokens = await refresh(instance, first.refreshToken);
        return { tokens, signOut: () => identity.signOut(callAs(), first.refreshToken) };
      },
      async () => {
        const { tokens, principal } = await registerAccount(instance);
        return { tokens, signOut: () => identity.signOut(callAs(principal), "") };
      },
    ];
    for (const open of signOuts) {
      const { tokens, signOut } = await open();
      expect(await statusOf(instance, tokens.accessToken)).toBe("GOOD");
      await signOut();
      await signOut();
      expect(await statusOf(instance, tokens.accessToken)).toBe("SESSION_ENDED");
      expect(await rejectionReason(() => refresh(instance, tokens.refreshToken))).toBe("SESSION_ENDED");
    }
    expect(await good(instance)).toBe(0);
    expect(await rejectionReason(() => identity.signOut(callAs(anonymous), ""))).toBe("SIGN_IN_REQUIRED");
  });

  test("is listed for whose it is, newest first, until it ends", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, principal } = await registerAccount(instance);
    await registerAccount(instance);
    const call = { ...callAs(undefined, "192.0.2.7"), userAgent: `${"a".repeat(199)}\u{1f9ee}` };
    const { tokens } = await identity.signIn(call, { email, password });
    const listed = await identity.listSessions(callAs(principal), page);
    expect(listed.items).toHaveLength(2);
    expect(listed.items[0]).toMatchObject({ clientAddress: "192.0.2.7", current: false });
    expect(listed.items[0]?.userAgent).toBe(`${"a".repeat(199)}\ufffd`);
    expect(listed.items[1]).toMatchObject({ current: true, userAgent: "test" });
    const walked = await identity.listSessions(callAs(principal), { pageSize: 1, pageToken: "" });
    const rest = await identity.listSessions(callAs(principal), {
      pageSize: 1,
      pageToken: walked.nextPageToken,
    });
    expect([...walked.items, ...rest.items]).toEqual(listed.items);
    expect(rest.nextPageToken).toBe("");
    // The page token of one is not another's.
    const stranger = (await registerAccount(instance)).principal;
    const stolen = { pageSize: 1, pageToken: walked.nextPageToken };
    expect(await rejectionReason(() => identity.listSessions(callAs(stranger), stolen))).toBe(
      "PAGE_TOKEN_INVALID",
    );
    await identity.signOut(callAs(), tokens.refreshToken);
    expect((await identity.listSessions(callAs(principal), page)).items).toEqual([listed.items[1]]);
  });

  test("is revoked by whose it is and by nobody else", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, principal } = await registerAccount(instance);
    const { tokens } = await identity.signIn(callAs(), { email, password });
    const [device] = (await identity.listSessions(callAs(principal), page)).items;
    const id = device?.id ?? "";
    const stranger = (await registerAccount(instance)).principal;
    expect(await rejectionReason(() => identity.revokeSession(callAs(stranger), id))).toBe(
      "SESSION_NOT_FOUND",
    );
    expect(await statusOf(instance, tokens.accessToken)).toBe("GOOD");
    await identity.revokeSession(callAs(principal), id);
    expect(await statusOf(instance, tokens.accessToken)).toBe("SESSION_ENDED");
    expect(await rejectionReason(() => identity.revokeSession(callAs(principal), id))).toBe(
      "SESSION_NOT_FOUND",
    );
  });

  test("that is the hundred and first of an account ends the oldest", async () => {
    const instance = await openIdentity();
    const { tokens, account, principal } = await registerAccount(instance);
    await instance.database.query(
      `insert into session select gen_random_uuid(), account_id, decode(md5(n::text), 'hex'), 1, '', '',
         created_at, refreshed_at, expires_at, null from session, generate_series(1, 98) as n`,
    );
    // Their ids are random, and the first one's is the lowest.
    await instance.database.query(
      "update session set id = overlay(id::text placing 'f' from 1)::uuid where generation = 1 and client_address = ''",
    );
    const { email, password } = { email: account.email, password: "correct horse" };
    await instance.identity.signIn(callAs(), { email, password });
    expect(await good(instance)).toBe(100);
    expect(await statusOf(instance, tokens.accessToken)).toBe("GOOD");
    await instance.identity.signIn(callAs(), { email, password });
    expect(await good(instance)).toBe(100);
    expect(await statusOf(instance, tokens.accessToken)).toBe("SESSION_ENDED");
    expect((await instance.identity.listSessions(callAs(principal), page)).items).toHaveLength(20);
  });
});

describe("a new password", () => {
  test("ends all other sessions, and from then on it alone is good", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, tokens, principal } = await registerAccount(instance);
    const other = (await identity.signIn(callAs(), { email, password })).tokens;
    const change = (currentPassword: string) =>
      identity.changePassword(callAs(principal), { currentPassword, newPassword: "battery staple" });
    expect(await rejectionReason(() => change("wrong"))).toBe("PASSWORD_WRONG");
    expect(await statusOf(instance, other.accessToken)).toBe("GOOD");
    await change(password);
    expect(await statusOf(instance, other.accessToken)).toBe("SESSION_ENDED");
    expect(await rejectionReason(() => refresh(instance, other.refreshToken))).toBe("SESSION_ENDED");
    expect(await statusOf(instance, tokens.accessToken)).toBe("GOOD");
    await refresh(instance, tokens.refreshToken);
    expect(await rejectionReason(() => identity.signIn(callAs(), { email, password }))).toBe(
      "SIGN_IN_FAILED",
    );
    await identity.signIn(callAs(), { email, password: "battery staple" });
  });

  test("leaves no session that began by the old one meanwhile", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    for (let round = 0; round < 5; round += 1) {
      const { email, password, principal } = await registerAccount(instance);
      const [changed, ...signIns] = await Promise.allSettled([
        identity.changePassword(callAs(principal), {
          currentPassword: password,
          newPassword: "battery staple",
        }),
        ...Array.from({ length: 3 }, () => identity.signIn(callAs(), { email, password })),
      ]);
      expect(changed?.status).toBe("fulfilled");
      for (const one of signIns) {
        if (one.status === "rejected" || one.value === undefined) continue;
        expect(await statusOf(instance, one.value.tokens.accessToken)).toBe("SESSION_ENDED");
      }
    }
  });
});

describe("of two replicas", () => {
  test("each knows at once what ended at the other", async () => {
    const site = await createSharedStores();
    const one = await openIdentity({ site });
    const two = await openIdentity({ site });
    const settled = async (token: string) => {
      for (const { identity } of [one, two]) {
        await expect.poll(() => identity.authenticate(token)).not.toBeInstanceOf(Promise);
      }
    };
    const ends: [string, (who: Awaited<ReturnType<typeof registerAccount>>) => Promise<unknown>, string][] = [
      ["sign-out", ({ tokens }) => two.identity.signOut(callAs(), tokens.refreshToken), "SESSION_ENDED"],
      [
        "deletion",
        ({ account }) => two.customers.remove(internalCall(), account.customerId, ""),
        "SESSION_ENDED",
      ],
      [
        "replay",
        async ({ tokens }) => {
          await refresh(one, tokens.refreshToken);
          await rejectionReason(() => refresh(two, tokens.refreshToken));
        },
        "SESSION_ENDED",
      ],
    ];
    for (const [what, end, reason] of ends) {
      const who = await registerAccount(one);
      await settled(who.tokens.accessToken);
      await end(who);
      const endedAtMs = performance.now();
      let lastGoodMs = 0;
      while (performance.now() - endedAtMs < 400) {
        const status = await statusOf(one, who.tokens.accessToken);
        if (status === "GOOD") lastGoodMs = performance.now() - endedAtMs;
        else expect(status).toBe(reason);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(lastGoodMs, what).toBeLessThan(200);
      expect(await statusOf(two, who.tokens.accessToken)).toBe(reason);
    }
  });
});
