import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { MINUTE_MS } from "../../../../src/kernel/durations.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  callAs,
  type IdentityInstance,
  newAddress,
  newEmail,
  openIdentity,
  type RegisteredAccount,
  registerAccount,
  rejectedAppError,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";

/** Tries a wrong password. */
function attemptSignIn({ identity }: IdentityInstance, email: string, address?: string): Promise<AppError> {
  return rejectedAppError(() => identity.signIn(callAs(undefined, address), { email, password: "wrong" }));
}

const guessReason = async (instance: IdentityInstance, email: string, address?: string): Promise<string> =>
  (await attemptSignIn(instance, email, address)).details.reason;

describe("backoff of wrong passwords", () => {
  test.each([
    ["an account", true],
    ["an email without an account", false],
  ])(
    "%s has five failures, then waits that double up to the rate at which failures leak",
    async (_, exists) => {
      const clock = createTestClock();
      const instance = await openIdentity({ clock });
      const email = exists ? (await registerAccount(instance)).email : newEmail();
      for (let failure = 1; failure <= 5; failure += 1) {
        expect(await guessReason(instance, email)).toBe("SIGN_IN_FAILED");
      }
      for (const waitSeconds of [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]) {
        const early = await attemptSignIn(instance, email);
        expect(early).toMatchObject({
          code: "resource_exhausted",
          message: `Too many failed sign-in attempts. Retry in ${waitSeconds} s.`,
          details: { reason: "SIGN_IN_BACKOFF", retryAfterMs: waitSeconds * 1_000 },
        });
        clock.advance(waitSeconds * 1_000);
        expect(await guessReason(instance, email)).toBe("SIGN_IN_FAILED");
      }
    },
  );

  test("of 200 concurrent attempts, five are verified", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance);
    const reasons = await Promise.all(Array.from({ length: 200 }, () => guessReason(instance, email)));
    const count = (reason: string) => reasons.filter((one) => one === reason).length;
    expect([count("SIGN_IN_FAILED"), count("SIGN_IN_BACKOFF")]).toEqual([5, 195]);
  });

  test("an IPv4 address and an IPv6 /64 network have twenty failures over all accounts", async () => {
    const instance = await openIdentity();
    const address = newAddress();
    for (const source of [() => address, (n: number) => `2001:db8:1:2::${n.toString(16)}`]) {
      for (let failure = 1; failure <= 20; failure += 1) {
        expect(await guessReason(instance, newEmail(), source(failure))).toBe("SIGN_IN_FAILED");
      }
      expect(await guessReason(instance, newEmail(), source(21))).toBe("SIGN_IN_BACKOFF");
    }
    for (const other of [newAddress(), "2001:db8:1:3::1"]) {
      expect(await guessReason(instance, newEmail(), other)).toBe("SIGN_IN_FAILED");
    }
  });

  test("the /64 networks of an IPv6 /48 have eighty failures together, four a minute in the long run", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    let networks = 0;
    const guess = () => {
      networks += 1;
      return guessReason(instance, newEmail(), `2001:db8:1:${networks.toString(16)}::1`);
    };
    for (let failure = 1; failure <= 80; failure += 1) expect(await guess()).toBe("SIGN_IN_FAILED");
    expect(await guess()).toBe("SIGN_IN_BACKOFF");
    expect(await guessReason(instance, newEmail(), "2001:db8:2::1"), "another /48").toBe("SIGN_IN_FAILED");
    // Rejected attempts are not counted.
    let verified = 0;
    for (let second = 0; second < 600; second += 15) {
      clock.advance(15_000);
      for (const reason of [await guess(), await guess()]) if (reason === "SIGN_IN_FAILED") verified += 1;
    }
    expect(verified).toBeLessThanOrEqual(40);
  });

  test("a blocked subject leaves the others of the attempt uncounted", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    for (let failure = 0; failure < 5; failure += 1) await attemptSignIn(instance, email);
    const address = "2001:db8:1:1::1";
    for (let attempt = 0; attempt < 30; attempt += 1) {
      expect(await guessReason(instance, email, address)).toBe("SIGN_IN_BACKOFF");
    }
    const rows = await instance.database.query<{ failures: number }>("select failures from sign_in_failure");
    expect(rows.map(({ failures }) => failures).toSorted()).toEqual([1, 1, 1, 1, 1, 5]);
  });

  test("the stated wait is that of the blocked subject, not of one whose attempt is undone", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const [email, address] = [newEmail(), newAddress()];
    for (let failure = 1; failure <= 19; failure += 1) await guessReason(instance, newEmail(), address);
    for (let failure = 1; failure <= 5; failure += 1) await guessReason(instance, email);
    clock.advance(600);
    // Counted, this attempt would be the address's twentieth failure, and block it for a second.
    expect((await attemptSignIn(instance, email, address)).details).toMatchObject({
      reason: "SIGN_IN_BACKOFF",
      retryAfterMs: 400,
    });
  });

  test("a successful sign-in clears the account's failures and does not count for the address", async () => {
    const instance = await openIdentity();
    const { email, password } = await registerAccount(instance);
    const address = newAddress();
    for (let round = 0; round < 6; round += 1) {
      for (let failure = 0; failure < 3; failure += 1) await attemptSignIn(instance, email, address);
      await instance.identity.signIn(callAs(undefined, address), { email, password });
    }
    // 18 failures of the address so far.
    expect(await guessReason(instance, newEmail(), address)).toBe("SIGN_IN_FAILED");
    expect(await guessReason(instance, newEmail(), address)).toBe("SIGN_IN_FAILED");
    expect(await guessReason(instance, newEmail(), address)).toBe("SIGN_IN_BACKOFF");
  });

  test("the longest wait is five minutes", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    await attemptSignIn(instance, email);
    await instance.database.query("update sign_in_failure set failures = 1000");
    await attemptSignIn(instance, email);
    expect((await attemptSignIn(instance, email)).details.retryAfterMs).toBe(5 * MINUTE_MS);
  });

  test("an account with a failure every four minutes is not blocked within 15 attempts", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const email = newEmail();
    for (let attempt = 1; attempt <= 15; attempt += 1) {
      expect(await guessReason(instance, email), `attempt ${attempt}`).toBe("SIGN_IN_FAILED");
      clock.advance(4 * MINUTE_MS);
    }
  });

  test("an address with a failure every 40 seconds is not blocked within 40 attempts", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const address = newAddress();
    for (let attempt = 1; attempt <= 40; attempt += 1) {
      expect(await guessReason(instance, newEmail(), address), `attempt ${attempt}`).toBe("SIGN_IN_FAILED");
      clock.advance(40_000);
    }
  });

  test("an account that fails faster than failures leak is blocked in the end", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const email = newEmail();
    const reasons = [];
    for (let attempt = 1; attempt <= 20; attempt += 1) {
      reasons.push(await guessReason(instance, email));
      clock.advance(100_000);
    }
    expect(reasons.slice(0, 11)).toEqual(Array(11).fill("SIGN_IN_FAILED"));
    expect(reasons).toContain("SIGN_IN_BACKOFF");
  });

  test("counters are deleted once they have leaked, and not before", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const { identity, database } = instance;
    const email = newEmail();
    for (let failure = 0; failure < 5; failure += 1) await attemptSignIn(instance, email);
    expect(await guessReason(instance, email)).toBe("SIGN_IN_BACKOFF");
    const countRows = async () => (await database.query("select from sign_in_failure")).length;
    await identity.purgeExpired(internalCall());
    // Five addresses with one failure each, and the account with five.
    expect(await countRows()).toBe(6);
    clock.advance(24 * MINUTE_MS);
    await identity.purgeExpired(internalCall());
    expect(await countRows()).toBe(1);
    clock.advance(2 * MINUTE_MS);
    await identity.purgeExpired(internalCall());
    expect(await countRows()).toBe(0);
  });

  test("the current password of a signed-in account has five failures too", async () => {
    const instance = await openIdentity();
    const { principal } = await registerAccount(instance);
    const input = { currentPassword: "wrong", newPassword: "battery staple" };
    const change = () => rejectionReason(() => instance.identity.changePassword(callAs(principal), input));
    for (let failure = 0; failure < 5; failure += 1) expect(await change()).toBe("PASSWORD_WRONG");
    expect(await change()).toBe("SIGN_IN_BACKOFF");
  });
});

describe("failed attempts from unknown networks", () => {
  async function signIn(
    { identity }: IdentityInstance,
    input: { email: string; password: string },
    address?: string,
  ): Promise<string> {
    const outcome = identity.signIn(callAs(undefined, address), input).then(() => "SIGNED_IN");
    return outcome.catch((error: unknown) => rejectionReason(() => Promise.reject(error)));
  }

  /** Creates an account with an ended session in one network, and blocks it for unknown networks. */
  async function openWithBlockedAccount(
    homeAddress: string,
  ): Promise<{ instance: IdentityInstance; account: RegisteredAccount }> {
    const instance = await openIdentity();
    const account = await registerAccount(instance);
    const { tokens } = await instance.identity.signIn(callAs(undefined, homeAddress), account);
    await instance.identity.signOut(callAs(), tokens.refreshToken);
    for (let failure = 0; failure < 6; failure += 1) await attemptSignIn(instance, account.email);
    expect(await signIn(instance, account)).toBe("SIGN_IN_BACKOFF");
    return { instance, account };
  }

  test.each([
    ["address", "192.0.2.7", "192.0.2.7", "192.0.2.8"],
    ["IPv6 network", "2001:db8:1:2::1", "2001:db8:1:2:3::4", "2001:db8:1:3::1"],
  ])(
    "the owner can sign in from an %s of an earlier session, and from no other",
    async (_, earlier, home, elsewhere) => {
      const { instance, account } = await openWithBlockedAccount(earlier);
      const { email, password } = account;
      const other = await registerAccount(instance);
      await instance.identity.signIn(callAs(undefined, elsewhere), other);
      expect(await signIn(instance, account, elsewhere)).toBe("SIGN_IN_BACKOFF");
      expect(await signIn(instance, { email: email.toUpperCase(), password }, home)).toBe("SIGNED_IN");
      // The success at home does not clear the failures of unknown networks.
      expect(await signIn(instance, account)).toBe("SIGN_IN_BACKOFF");
      for (let failure = 0; failure < 5; failure += 1) {
        expect(await guessReason(instance, email, home)).toBe("SIGN_IN_FAILED");
      }
      expect(await signIn(instance, account, home)).toBe("SIGN_IN_BACKOFF");
    },
  );

  test("guesses from 300 networks of a /48 do not keep the owner out who signed in from one of them before", async () => {
    const instance = await openIdentity();
    const account = await registerAccount(instance);
    const home = "2001:db8:1:ffff::1";
    await instance.identity.signIn(callAs(undefined, home), account);
    const guesses: string[] = [];
    for (let network = 0; network < 300; network += 1) {
      guesses.push(await guessReason(instance, account.email, `2001:db8:1:${network.toString(16)}::1`));
      if (network % 20 === 0) expect(await signIn(instance, account, home)).toBe("SIGNED_IN");
    }
    expect(guesses.filter((reason) => reason === "SIGN_IN_FAILED")).toHaveLength(5);
    // The /48 is blocked for other accounts too.
    for (let guess = 0; guess < 80; guess += 1) {
      await attemptSignIn(instance, newEmail(), `2001:db8:1:${guess.toString(16)}::2`);
    }
    expect(await guessReason(instance, newEmail(), "2001:db8:1:fffe::1")).toBe("SIGN_IN_BACKOFF");
    expect(await signIn(instance, account, home)).toBe("SIGNED_IN");
  });

  test("a sign-in that the budget of its /48 rejects passes from a network of an earlier session only", async () => {
    const instance = await openIdentity();
    const account = await registerAccount(instance);
    const home = "2001:db8:1:1::1";
    await instance.identity.signIn(callAs(undefined, home), account);
    const siteDenial = new AppError("resource_exhausted", "Too many.", { reason: "RATE_LIMITED" });
    const outcome = (email: string, address: string) =>
      instance.identity
        .signIn({ ...callAs(undefined, address), siteDenial }, { email, password: account.password })
        .then(
          () => "SIGNED_IN",
          (error: unknown) => (error instanceof AppError ? error.details.reason : String(error)),
        );
    expect(await outcome(account.email, home)).toBe("SIGNED_IN");
    expect(await outcome(account.email, "2001:db8:1:2::1")).toBe("RATE_LIMITED");
    expect(await outcome(newEmail(), home), "an email without an account").toBe("RATE_LIMITED");
  });

  test("the owner can change the password with a session", async () => {
    const { instance, account } = await openWithBlockedAccount(newAddress());
    const change = { currentPassword: account.password, newPassword: "battery staple" };
    await instance.identity.changePassword(callAs(account.principal), change);
  });
});
