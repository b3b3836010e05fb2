import { hash, parseOptions, verify } from "@node-rs/argon2";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  callAs,
  credentialStatus,
  type IdentityInstance,
  newEmail,
  openIdentity,
  registerAccount,
  rejectedAppError,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

vi.mock("@node-rs/argon2", { spy: true });
beforeEach(() => void vi.mocked(verify).mockClear());

const createCustomer = ({ customers }: IdentityInstance, email: string) =>
  customers.create(internalCall(), {
    customer: { email, name: "Ada" },
    requestId: "",
    validateOnly: false,
  });
const storedHash = async ({ database }: IdentityInstance): Promise<string> => {
  const [row] = await database.query<{ password_hash: string }>("select password_hash from account");
  return row?.password_hash ?? "";
};

describe("registration", () => {
  test("registering creates a customer and an account with a session", async () => {
    const instance = await openIdentity();
    const { email, account, principal } = await registerAccount(instance);
    expect(account).toMatchObject({ email, name: "Ada", role: "CUSTOMER" });
    expect(await instance.identity.getMe(callAs(principal))).toEqual(account);
    expect(await instance.customers.get(internalCall(), account.customerId, false)).toMatchObject({ email });
  });

  test("concurrent registrations of an email create one account and leave no rows of the failed ones", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    const outcomes = await Promise.allSettled(
      [email, email.toUpperCase(), email, email].map((spelling) =>
        instance.identity.register(callAs(), { email: spelling, name: "Ada", password: "correct horse" }),
      ),
    );
    const rejections = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(rejections).toHaveLength(3);
    for (const error of rejections) {
      expect(error).toMatchObject({ code: "already_exists", details: { reason: "EMAIL_TAKEN" } });
    }
    for (const table of ["customer", "account", "session"]) {
      expect(await instance.database.query(`select from ${table}`), table).toHaveLength(1);
    }
  });

  test("the email of a customer that staff created cannot be registered", async () => {
    const instance = await openIdentity();
    const email = newEmail();
    await createCustomer(instance, email);
    const register = () =>
      instance.identity.register(callAs(), { email, name: "Mallory", password: "correct horse" });
    expect(await rejectionReason(register)).toBe("EMAIL_TAKEN");
  });
});

describe("sign-in", () => {
  test("a sign-in returns the account and its tokens, and the email is matched without regard to case", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    const signedIn = await instance.identity.signIn(callAs(), { email: email.toUpperCase(), password });
    expect(signedIn.account).toEqual(account);
    expect(await instance.identity.authenticate(signedIn.tokens.accessToken)).toMatchObject({
      kind: "account",
      accountId: account.id,
      customerId: account.customerId,
      role: "CUSTOMER",
    });
  });

  test("the error of a failed sign-in does not reveal whether the email has an account", async () => {
    const instance = await openIdentity();
    const { email, password } = await registerAccount(instance);
    const withoutAccount = newEmail();
    await createCustomer(instance, withoutAccount);
    const inputs = [
      { email, password: "wrong" },
      { email: newEmail(), password },
      { email: withoutAccount, password },
    ];
    const errors = [];
    for (const input of inputs) {
      const { code, message, details } = await rejectedAppError(() =>
        instance.identity.signIn(callAs(), input),
      );
      errors.push({ code, message, details });
    }
    expect(errors[0]).toMatchObject({ code: "unauthenticated", details: { reason: "SIGN_IN_FAILED" } });
    expect(errors[1]).toEqual(errors[0]);
    expect(errors[2]).toEqual(errors[0]);
  });

  test("a sign-in verifies a hash of the same cost and runs the same queries whether the account exists or not", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance);
    const workOf = async (tried: string) => {
      vi.mocked(verify).mockClear();
      const readsBefore = instance.reads.length;
      const signIn = () => instance.identity.signIn(callAs(), { email: tried, password: "wrong" });
      expect(await rejectionReason(signIn)).toBe("SIGN_IN_FAILED");
      const hashCosts = vi.mocked(verify).mock.calls.map(([hashed]) => parseOptions(String(hashed)));
      return { hashCosts, reads: instance.reads.slice(readsBefore) };
    };
    const known = await workOf(email);
    expect(known.hashCosts).toHaveLength(1);
    expect(known.reads.join()).toContain("client_address");
    expect(await workOf(newEmail())).toEqual(known);
  });

  test("a deleted customer cannot sign in until the customer is undeleted", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    await instance.customers.delete(internalCall(), account.customerId, "");
    const signIn = () => instance.identity.signIn(callAs(), { email, password });
    expect(await rejectionReason(signIn)).toBe("SIGN_IN_FAILED");
    await instance.customers.undelete(internalCall(), account.customerId, "");
    expect((await signIn()).account).toMatchObject({ id: account.id });
  });

  test("composed, decomposed and compatible forms of a password are equal, and nothing else is", async () => {
    const instance = await openIdentity();
    const { email } = await registerAccount(instance, "Ångström ﬁve №1");
    const signIn = async (password: string) => instance.identity.signIn(callAs(), { email, password });
    for (const equal of ["A\u030angstro\u0308m ﬁve №1", "Ångström five No1", "Ångström ﬁve №1"]) {
      expect((await signIn(equal)).account.email).toBe(email);
    }
    expect(await rejectionReason(() => signIn("Angstrom five No1"))).toBe("SIGN_IN_FAILED");
  });

  test("a password is stored as an Argon2id hash at the cost that OWASP recommends", async () => {
    const instance = await openIdentity();
    await registerAccount(instance, "correct horse");
    expect(await storedHash(instance)).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
  });

  test("a successful sign-in replaces a hash of another cost", async () => {
    const instance = await openIdentity();
    const { email, password, account } = await registerAccount(instance);
    const cheapHash = await hash(password, { memoryCost: 1_024, timeCost: 1, parallelism: 1 });
    await instance.database.query("update account set password_hash = $1", [cheapHash]);
    const signIn = (input: string) => instance.identity.signIn(callAs(), { email, password: input });
    expect(await rejectionReason(() => signIn("wrong"))).toBe("SIGN_IN_FAILED");
    expect(await storedHash(instance)).toBe(cheapHash);
    await signIn(password);
    const newHash = await storedHash(instance);
    expect(newHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect((await signIn(password)).account.id).toBe(account.id);
    expect(await storedHash(instance)).toBe(newHash);
  });
});

describe("password change", () => {
  test("a password change revokes all other sessions, and only the new password is valid afterwards", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    const { email, password, tokens, principal } = await registerAccount(instance);
    const other = (await identity.signIn(callAs(), { email, password })).tokens;
    const change = (currentPassword: string) =>
      identity.changePassword(callAs(principal), { currentPassword, newPassword: "battery staple" });
    expect(await rejectionReason(() => change("wrong"))).toBe("PASSWORD_WRONG");
    expect(await credentialStatus(instance, other.accessToken)).toBe("VALID");
    await change(password);
    expect(await credentialStatus(instance, other.accessToken)).toBe("SESSION_ENDED");
    const refreshOther = () => identity.refresh(callAs(), other.refreshToken);
    expect(await rejectionReason(refreshOther)).toBe("SESSION_ENDED");
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
    await identity.refresh(callAs(), tokens.refreshToken);
    const signIn = (input: string) => identity.signIn(callAs(), { email, password: input });
    expect(await rejectionReason(() => signIn(password))).toBe("SIGN_IN_FAILED");
    await signIn("battery staple");
  });

  test("no session that a concurrent sign-in creates with the old password survives a password change", async () => {
    const instance = await openIdentity();
    const { identity } = instance;
    for (let round = 0; round < 5; round += 1) {
      const { email, password, principal } = await registerAccount(instance);
      const change = { currentPassword: password, newPassword: "battery staple" };
      const [changed, ...signIns] = await Promise.allSettled([
        identity.changePassword(callAs(principal), change),
        ...Array.from({ length: 3 }, () => identity.signIn(callAs(), { email, password })),
      ]);
      expect(changed?.status).toBe("fulfilled");
      for (const signIn of signIns) {
        if (signIn.status === "rejected" || signIn.value === undefined) continue;
        expect(await credentialStatus(instance, signIn.value.tokens.accessToken)).toBe("SESSION_ENDED");
      }
    }
  });
});
