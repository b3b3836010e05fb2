import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  callAs,
  createTestClock,
  type IdentityInstance,
  newAddress,
  newEmail,
  openIdentity,
  registerAccount,
  rejectedAppError,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

describe("whoever guesses", () => {
  const guess = (instance: IdentityInstance, email: string, address?: string) =>
    rejectedAppError(() =>
      instance.identity.signIn(callAs(undefined, address), { email, password: "wrong" }),
    );

  test.each([
    ["an account", true],
    ["an account that does not exist", false],
  ])(
    "%s has five tries, then waits twice as long each time, until failures leak as fast",
    async (_, exists) => {
      const clock = createTestClock();
      const instance = await openIdentity({ clock });
      const email = exists ? (await registerAccount(instance)).email : newEmail();
      for (let n = 1; n <= 5; n += 1) {
        expect((await guess(instance, email)).details.reason).toBe("SIGN_IN_FAILED");
      }
      for (const waitMs of [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256].map((seconds) => seconds * 1_000)) {
        const early = await guess(instance, email);
        expect(early.code).toBe("exhausted");
        expect(early.details.reason).toBe("SIGN_IN_BACKOFF");
        expect(early.details.retryAfterMs).toBeLessThanOrEqual(waitMs);
        expect(early.details.retryAfterMs).toBeGreaterThan(waitMs - 1_000);
        clock.advance(waitMs);
        expect((await guess(instance, email)).details.reason).toBe("SIGN_IN_FAILED");
      }
    },
  );

  test("200 times at once gets five answers", async () => {
    // Whoever takes longer than the first wait would rightly get another one.
    const now = new Date();
    const instance = await openIdentity({ clock: { now: () => now } });
    const { email } = await registerAccount(instance);
    const reasons = await Promise.all(
      Array.from({ length: 200 }, async () => (await guess(instance, email)).details.reason),
    );
    const count = (reason: string) => reasons.filter((one) => one === reason).length;
    expect([count("SIGN_IN_FAILED"), count("SIGN_IN_BACKOFF")]).toEqual([5, 195]);
  });

  test("many accounts from one address has twenty tries, and from one IPv6 network too", async () => {
    const instance = await openIdentity();
    const address = newAddress();
    for (const at of [() => address, (n: number) => `2001:db8:1:2::${n.toString(16)}`]) {
      for (let n = 1; n <= 20; n += 1) {
        expect((await guess(instance, newEmail(), at(n))).details.reason).toBe("SIGN_IN_FAILED");
      }
      expect((await guess(instance, newEmail(), at(21))).details.reason).toBe("SIGN_IN_BACKOFF");
    }
    // Others are not in the way of that.
    for (const other of [newAddress(), "2001:db8:1:3::1"]) {
      expect((await guess(instance, newEmail(), other)).details.reason).toBe("SIGN_IN_FAILED");
    }
  });

  test("is free again after a sign-in, which costs the address nothing", async () => {
    const instance = await openIdentity();
    const { email, password } = await registerAccount(instance);
    const address = newAddress();
    for (let round = 0; round < 6; round += 1) {
      for (let n = 0; n < 3; n += 1) await guess(instance, email, address);
      await instance.identity.signIn(callAs(undefined, address), { email, password });
    }
    // 18 failures of this address, and 6 sign-ins that do not count.
    expect((await guess(instance, newEmail(), address)).details.reason).toBe("SIGN_IN_FAILED");
    expect((await guess(instance, newEmail(), address)).details.reason).toBe("SIGN_IN_FAILED");
    expect((await guess(instance, newEmail(), address)).details.reason).toBe("SIGN_IN_BACKOFF");
  });

  test("waits five minutes at most", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    await guess(instance, email);
    await instance.database.query("update sign_in_failure set failures = 1000");
    await guess(instance, email);
    const { retryAfterMs } = (await guess(instance, email)).details;
    expect(retryAfterMs).toBeGreaterThan(290_000);
    expect(retryAfterMs).toBeLessThanOrEqual(300_000);
  });

  test.each<[string, number, number]>([
    ["an account fewer than once in five minutes, with tries in between", 15, 4 * 60_000],
    ["one address fewer than once a minute, with tries in between", 40, 40_000],
  ])("%s never waits", async (what, tries, everyMs) => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const [email, address] = [newEmail(), newAddress()];
    for (let n = 1; n <= tries; n += 1) {
      const tried = what.startsWith("an account")
        ? guess(instance, email)
        : guess(instance, newEmail(), address);
      expect((await tried).details.reason, `try ${n}`).toBe("SIGN_IN_FAILED");
      clock.advance(everyMs);
    }
  });

  test("a little faster than failures leak waits in the end", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const email = newEmail();
    const reasons = [];
    for (let n = 1; n <= 20; n += 1) {
      reasons.push((await guess(instance, email)).details.reason);
      clock.advance(100_000);
    }
    expect(reasons.slice(0, 11)).toEqual(Array.from({ length: 11 }, () => "SIGN_IN_FAILED"));
    expect(reasons).toContain("SIGN_IN_BACKOFF");
  });

  test("is forgotten once it has leaked, and not before", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const email = newEmail();
    for (let n = 0; n < 5; n += 1) await guess(instance, email);
    expect((await guess(instance, email)).details.reason).toBe("SIGN_IN_BACKOFF");
    const rows = async () => (await instance.database.query("select from sign_in_failure")).length;
    await instance.identity.purgeExpired(internalCall());
    expect(await rows()).toBe(6);
    // Five addresses with one failure each, and an account with five.
    clock.advance(24 * 60_000);
    await instance.identity.purgeExpired(internalCall());
    expect(await rows()).toBe(1);
    clock.advance(2 * 60_000);
    await instance.identity.purgeExpired(internalCall());
    expect(await rows()).toBe(0);
  });

  test("the current password of a session that was left open has five tries as well", async () => {
    const instance = await openIdentity();
    const { principal } = await registerAccount(instance);
    const change = () =>
      rejectionReason(() =>
        instance.identity.changePassword(callAs(principal), {
          ...{ currentPassword: "wrong", newPassword: "battery staple" },
        }),
      );
    for (let n = 0; n < 5; n += 1) expect(await change()).toBe("PASSWORD_WRONG");
    expect(await change()).toBe("SIGN_IN_BACKOFF");
  });
});

describe("whoever is guessed at from elsewhere", () => {
  const signIn = ({ identity }: IdentityInstance, email: string, password: string, address?: string) =>
    identity.signIn(callAs(undefined, address), { email, password }).then(
      () => "GOOD",
      (error) => rejectionReason(() => Promise.reject(error)),
    );
  /** Somebody who had a session from home, and whose account strangers have guessed at until it is blocked. */
  const beset = async (home: string) => {
    const instance = await openIdentity();
    const who = await registerAccount(instance);
    const { tokens } = await instance.identity.signIn(callAs(undefined, home), who);
    await instance.identity.signOut(callAs(), tokens.refreshToken);
    for (let n = 0; n < 6; n += 1) await signIn(instance, who.email, "wrong");
    expect(await signIn(instance, who.email, who.password)).toBe("SIGN_IN_BACKOFF");
    return { instance, ...who };
  };

  test.each([
    ["address", "192.0.2.7", "192.0.2.7", "192.0.2.8"],
    ["IPv6 network", "2001:db8:1:2::1", "2001:db8:1:2:3::4", "2001:db8:1:3::1"],
  ])("signs in from an %s where they had a session, and from no other", async (_, had, home, elsewhere) => {
    const { instance, email, password } = await beset(had);
    const other = await registerAccount(instance);
    await instance.identity.signIn(callAs(undefined, elsewhere), other);
    expect(await signIn(instance, email, password, elsewhere)).toBe("SIGN_IN_BACKOFF");
    expect(await signIn(instance, email.toUpperCase(), password, home)).toBe("GOOD");
    // That is no sign-in of the strangers.
    expect(await signIn(instance, email, password)).toBe("SIGN_IN_BACKOFF");
    for (let n = 0; n < 5; n += 1) {
      expect(await signIn(instance, email, "wrong", home)).toBe("SIGN_IN_FAILED");
    }
    expect(await signIn(instance, email, password, home)).toBe("SIGN_IN_BACKOFF");
  });

  test("changes their password, as they have a session", async () => {
    const { instance, password, principal } = await beset(newAddress());
    const change = { currentPassword: password, newPassword: "battery staple" };
    await instance.identity.changePassword(callAs(principal), change);
  });

  test("is asked the same of the database whether the account exists or not", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance);
    const askedFor = async (tried: string) => {
      const before = instance.reads.length;
      expect(await signIn(instance, tried, "wrong")).toBe("SIGN_IN_FAILED");
      return instance.reads.slice(before);
    };
    const asked = await askedFor(email);
    expect(asked.join()).toContain("client_address");
    expect(await askedFor(newEmail())).toEqual(asked);
  });
});
