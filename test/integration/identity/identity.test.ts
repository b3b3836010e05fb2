import { randomUUID } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ApiKeySchema, Role } from "../../../gen/cartwright/identity/v1/identity_pb.ts";
import { SignInRequestSchema } from "../../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { failureOf } from "../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  type SignedInAccount,
} from "../../support/identity/test-accounts.ts";
import { type Clients, startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

const newEmail = () => `${randomUUID()}@example.com`;
const password = "correct horse";
const UNAUTHENTICATED = "Unauthenticated";

describe.each(["gRPC", "JSON"])("over %s", (protocol) => {
  const clients = (from: Clients & { json: Clients }): Clients => (protocol === "gRPC" ? from : from.json);

  test("a person can register, call with the access token, refresh it and sign out", async () => {
    const { identity } = clients(shop);
    const email = newEmail();
    const { account, tokens } = await identity.register({ email, name: "Ada", password });
    expect(account).toMatchObject({ email, name: "Ada", role: Role.CUSTOMER });
    const { accessToken = "", refreshToken = "" } = tokens ?? {};
    const me = await clients(clientsWithToken(shop, accessToken)).identity.getMe({});
    expect(me.account).toEqual(account);
    const { sessions } = await clients(clientsWithToken(shop, accessToken)).identity.listSessions({});
    expect(sessions).toMatchObject([{ current: true, clientAddress: "127.0.0.1" }]);
    expect(sessions[0]?.userAgent).not.toBe("");
    const next = (await identity.refreshSession({ refreshToken })).tokens;
    expect(await clients(clientsWithToken(shop, next?.accessToken ?? "")).identity.getMe({})).toEqual(me);
    await identity.signOut({ refreshToken: next?.refreshToken });
    expect(await failureOf(clients(clientsWithToken(shop, accessToken)).identity.getMe({}))).toMatchObject({
      code: UNAUTHENTICATED,
      reason: "SESSION_ENDED",
    });
    const again = identity.refreshSession({ refreshToken: next?.refreshToken });
    expect(await failureOf(again)).toMatchObject({ code: UNAUTHENTICATED, reason: "SESSION_ENDED" });
  });

  test("an email can be registered once, without regard to case", async () => {
    const { identity } = clients(shop);
    const email = newEmail();
    await identity.register({ email, name: "Ada", password });
    const again = identity.register({ email: email.toUpperCase(), name: "Bob", password });
    expect(await failureOf(again)).toMatchObject({ code: "AlreadyExists", reason: "EMAIL_TAKEN" });
  });

  test("a name without visible characters is rejected", async () => {
    const blank = clients(shop).identity.register({ email: newEmail(), name: " \u3000 ", password });
    expect(await failureOf(blank)).toMatchObject({ code: "InvalidArgument", fields: ["name"] });
  });

  test.each([
    ["of 7 characters", "a".repeat(7)],
    ["of 257 characters", "a".repeat(257)],
    ["of 10 kB", "a".repeat(10_000)],
    ["with a NUL", "aaaaaaa\0"],
  ])("a password %s is rejected, and the error does not repeat it", async (_, wrong) => {
    const { identity } = clients(shop);
    const failure = await failureOf(identity.register({ email: newEmail(), name: "Ada", password: wrong }));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["password"] });
    expect(failure.message).not.toContain("aaaa");
    if (wrong.length < 100) return;
    expect(await failureOf(identity.signIn({ email: newEmail(), password: wrong }))).toMatchObject({
      code: "InvalidArgument",
      fields: ["password"],
    });
  });

  test("a password of 256 supplementary characters is accepted whole", async () => {
    const { identity } = clients(shop);
    const [email, long] = [newEmail(), "\u{1f511}".repeat(256)];
    await identity.register({ email, name: "Ada", password: long });
    expect((await identity.signIn({ email, password: long })).account?.email).toBe(email);
    const shorter = identity.signIn({ email, password: "\u{1f511}".repeat(255) });
    expect(await failureOf(shorter)).toMatchObject({ code: UNAUTHENTICATED, reason: "SIGN_IN_FAILED" });
  });

  test("the sixth wrong password is rejected with the time to wait", async () => {
    const { identity } = clients(shop);
    const email = newEmail();
    const failedAttempt = () => identity.signIn({ email, password: "wrong" });
    for (let n = 0; n < 5; n += 1) {
      expect(await failureOf(failedAttempt())).toMatchObject({
        code: UNAUTHENTICATED,
        reason: "SIGN_IN_FAILED",
      });
    }
    const error = await failedAttempt().then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    expect(await failureOf(Promise.reject(error))).toMatchObject({
      code: "ResourceExhausted",
      reason: "SIGN_IN_BACKOFF",
    });
    expect(error?.findDetails(RetryInfoSchema)[0]?.retryDelay).toBeDefined();
    // All tests of this file share one address.
    await shop.database.query("delete from sign_in_failure");
  });

  test("a session can be revoked by its owner only, and its id is matched without regard to case", async () => {
    const [ann, bob] = [await createAccount(shop), await createAccount(shop)];
    const of = async (person: SignedInAccount) => (await person.identity.listSessions({})).sessions;
    const [id = ""] = (await of(ann)).filter(({ current }) => !current).map((session) => session.id);
    const stolen = clients(bob).identity.revokeSession({ id });
    expect(await failureOf(stolen)).toMatchObject({ code: "NotFound", reason: "SESSION_NOT_FOUND" });
    await clients(ann).identity.revokeSession({ id: id.toUpperCase() });
    expect(await of(ann)).toHaveLength(1);
  });

  test("another service can call with an API key within its scopes until the key is revoked", async () => {
    const { identity } = clients(admin);
    const expireTime = timestampFromMs(Date.now() + 3_600_000);
    const scopes = [Scope.CUSTOMERS_READ];
    const { apiKey, secret } = await identity.createApiKey({
      apiKey: { serviceAccount: "warehouse", scopes, expireTime, id: randomUUID(), secretPrefix: "x" },
    });
    expect(apiKey).toMatchObject({ serviceAccount: "warehouse", scopes, expireTime });
    expect(secret.startsWith(apiKey?.secretPrefix ?? "-")).toBe(true);
    expect((await identity.listApiKeys({ pageSize: 1 })).apiKeys).toEqual([apiKey]);
    const service = clients(clientsWithToken(shop, secret));
    expect((await service.customers.listCustomers({})).customers.length).toBeGreaterThan(0);
    const write = service.customers.createCustomer({ customer: { email: newEmail(), name: "x" } });
    expect(await failureOf(write)).toMatchObject({ code: "PermissionDenied", reason: "SCOPE_MISSING" });
    expect(await failureOf(service.identity.getMe({}))).toMatchObject({ code: "PermissionDenied" });
    const id = apiKey?.id.toUpperCase();
    const { apiKey: revoked } = await identity.revokeApiKey({ id });
    expect(timestampDate(revoked?.revokeTime ?? timestampFromMs(0)).getTime()).toBeGreaterThan(0);
    expect(await failureOf(service.customers.listCustomers({}))).toMatchObject({
      code: UNAUTHENTICATED,
      reason: "API_KEY_ENDED",
    });
    expect(await failureOf(identity.revokeApiKey({ id }))).toMatchObject({ code: "FailedPrecondition" });
    expect(await failureOf(identity.revokeApiKey({ id: randomUUID() }))).toMatchObject({ code: "NotFound" });
  });

  test.each<[string, MessageInitShape<typeof ApiKeySchema>, string]>([
    ["no scopes", { serviceAccount: "warehouse" }, "api_key.scopes"],
    ["the scope 0", { serviceAccount: "warehouse", scopes: [0] }, "api_key.scopes[0]"],
    ["no service account", { scopes: [1] }, "api_key.service_account"],
    [
      "an expiry in the past",
      { serviceAccount: "wh", scopes: [1], expireTime: timestampFromMs(1) },
      "api_key.expire_time",
    ],
  ])("an API key with %s is rejected", async (_, apiKey, field) => {
    const failure = await failureOf(clients(admin).identity.createApiKey({ apiKey }));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [field] });
  });

  test("a password change revokes the sessions of other devices", async () => {
    const ann = await createAccount(shop);
    const { tokens } = await shop.identity.signIn(ann);
    const other = clientsWithToken(shop, tokens?.accessToken ?? "");
    const change = { currentPassword: ann.password, newPassword: "battery staple" };
    await clients(ann).identity.changePassword(change);
    expect(await failureOf(other.identity.getMe({}))).toMatchObject({ reason: "SESSION_ENDED" });
    expect((await clients(ann).identity.getMe({})).account?.id).toBe(ann.accountId);
  });
});

test("a request with invalid UTF-8 is rejected before a password is verified", async () => {
  const request = create(SignInRequestSchema, { email: newEmail(), password: "aaaaaaaa" });
  const bytes = Buffer.from(toBinary(SignInRequestSchema, request));
  bytes[bytes.lastIndexOf("a")] = 0xff;
  const response = await fetch(`${shop.url}/cartwright.identity.v1.IdentityService/SignIn`, {
    method: "POST",
    headers: { "content-type": "application/proto" },
    body: bytes,
  });
  expect(response.status).toBe(400);
});
