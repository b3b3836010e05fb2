import { hash } from "@node-rs/argon2";
import { describe, expect, test } from "vitest";
import { createPasswordHasher } from "../../../../src/identity/accounts/password-hasher.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  callAs,
  newEmail,
  openIdentity,
  registerAccount,
  rejectedAppError,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const signal = internalCall().signal;

describe("a password", () => {
  test("is the same in composed, decomposed and compatible forms, and nothing else is", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance, "Ångström ﬁve №1");
    const tries = async (password: string) => instance.identity.signIn(callAs(), { email, password });
    for (const same of ["A\u030angstro\u0308m ﬁve №1", "Ångström five No1", "Ångström ﬁve №1"]) {
      expect((await tries(same)).account.email).toBe(email);
    }
    expect(await rejectionReason(() => tries("Angstrom five No1"))).toBe("SIGN_IN_FAILED");
  });

  test("is kept as Argon2id at the cost that OWASP asks for, and never as it is", async () => {
    const instance = await openIdentity();
    await registerAccount(instance, "correct horse");
    const [row] = await instance.database.query<{ password_hash: string }>(
      "select password_hash from account",
    );
    expect(row?.password_hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
  });

  test("is hashed anew at a sign-in when the cost has changed", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    const cheap = await hash(password, { memoryCost: 1_024, timeCost: 1, parallelism: 1 });
    await instance.database.query("update account set password_hash = $1", [cheap]);
    const hashNow = async () =>
      (await instance.database.query<{ password_hash: string }>("select password_hash from account"))[0]
        ?.password_hash;
    expect(
      await rejectionReason(() => instance.identity.signIn(callAs(), { email, password: "wrong" })),
    ).toBe("SIGN_IN_FAILED");
    expect(await hashNow()).toBe(cheap);
    await instance.identity.signIn(callAs(), { email, password });
    const dear = await hashNow();
    expect(dear).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    // The next sign-in leaves it, and finds it right.
    expect((await instance.identity.signIn(callAs(), { email, password })).account.id).toBe(account.id);
    expect(await hashNow()).toBe(dear);
  });

  test("waits its turn with few others, and is turned away from a line that is full", async () => {
    const passwords = createPasswordHasher();
    const tries = await Promise.allSettled(
      Array.from({ length: 60 }, () => passwords.verify(undefined, "anything", signal)),
    );
    const refused = tries.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    // Two at once and 32 in line; those that waited too long for a slow machine are refused too.
    expect(refused.length).toBeGreaterThanOrEqual(26);
    expect(refused.length).toBeLessThan(60);
    for (const error of refused) {
      expect(error).toMatchObject({
        code: "unavailable",
        details: { reason: "PASSWORDS_BUSY", retryAfterMs: 1_000 },
      });
    }
    // Those who were turned away have left the line.
    expect(await passwords.verify(undefined, "anything", signal)).toBe(false);
  });
});

describe("a sign-in", () => {
  test("gives the account and its tokens, without regard to the email's case", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    const signedIn = await instance.identity.signIn(callAs(), { email: email.toUpperCase(), password });
    expect(signedIn.account).toEqual(account);
    expect(await instance.identity.authenticate(signedIn.tokens.accessToken)).toMatchObject({
      ...{ kind: "account", accountId: account.id, customerId: account.customerId, role: "CUSTOMER" },
    });
  });

  test("does not say whether the email or the password is wrong, nor whether there is an account", async () => {
    const instance = await openIdentity();
    const { email, password } = await registerAccount(instance);
    const unenrolled = newEmail();
    await instance.customers.create(internalCall(), {
      ...{ customer: { email: unenrolled, name: "No account" }, requestId: "", validateOnly: false },
    });
    const refusals = await Promise.all(
      [
        { email, password: "wrong" },
        { email: newEmail(), password },
        { email: unenrolled, password },
      ].map(async (tried) => {
        const { code, message, details } = await rejectedAppError(() =>
          instance.identity.signIn(callAs(), tried),
        );
        return { code, message, details };
      }),
    );
    expect(refusals[0]).toMatchObject({ code: "unauthenticated", details: { reason: "SIGN_IN_FAILED" } });
    expect(refusals[1]).toEqual(refusals[0]);
    expect(refusals[2]).toEqual(refusals[0]);
  });

  test("takes as long for unknown accounts as for wrong passwords", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance);
    const durationOf = async (tried: string): Promise<number> => {
      const call = callAs();
      const startMs = performance.now();
      await rejectionReason(() => instance.identity.signIn(call, { email: tried, password: "wrong" }));
      return performance.now() - startMs;
    };
    const times: { known: number[]; unknown: number[] } = { known: [], unknown: [] };
    for (let round = 0; round < 15; round += 1) {
      // In turns, so that both see the same machine; the known one's failures are forgiven in between.
      await instance.database.query("delete from sign_in_failure");
      times.known.push(await durationOf(email));
      times.unknown.push(await durationOf(newEmail()));
    }
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[7] ?? Number.NaN;
    const ratio = median(times.unknown) / median(times.known);
    expect(ratio).toBeGreaterThan(0.6);
    expect(ratio).toBeLessThan(1.6);
  });

  test("of a deleted customer is refused, and possible again when they are back", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    await instance.customers.remove(internalCall(), account.customerId, "");
    const signIn = () => instance.identity.signIn(callAs(), { email, password });
    expect(await rejectionReason(signIn)).toBe("SIGN_IN_FAILED");
    await instance.customers.restore(internalCall(), account.customerId, "");
    expect((await signIn()).account).toMatchObject({ id: account.id });
  });
});
