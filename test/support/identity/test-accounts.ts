import { randomUUID } from "node:crypto";
import type { Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import type { Role } from "../../../gen/cartwright/identity/v1/identity_pb.ts";
import type { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { type Clients, clientsOf, longDeadline, type TestShop } from "../shop.ts";

/** A signed-in account, with clients that send its access token. */
export interface SignedInAccount extends Clients {
  json: Clients;
  accountId: string;
  customerId: string;
  email: string;
  password: string;
  accessToken: string;
  refreshToken: string;
}

/** Returns clients that send a credential, over gRPC and as JSON over HTTP/1.1. */
export function clientsWithToken(shop: TestShop, token: string): Clients & { json: Clients } {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const options = { baseUrl: shop.url, interceptors: [authorize, longDeadline] };
  return {
    ...clientsOf(createGrpcTransport(options)),
    json: clientsOf(createConnectTransport({ ...options, httpVersion: "1.1", useBinaryFormat: false })),
  };
}

/** Creates an account with a role and signs in, in a shop with ACCESS on. Afterwards the account has two sessions. */
export async function createAccount(
  shop: TestShop,
  role: keyof typeof Role = "CUSTOMER",
): Promise<SignedInAccount> {
  const email = `${randomUUID()}@example.com`;
  const password = `secret ${randomUUID()}`;
  await shop.identity.register({ email, name: "Ann Example", password });
  await shop.database.query(
    "update account set role = $2 where customer_id = (select id from customer where email = $1)",
    [email, role],
  );
  const { account, tokens } = await shop.identity.signIn({ email, password });
  const { accessToken = "", refreshToken = "" } = tokens ?? {};
  return {
    ...clientsWithToken(shop, accessToken),
    accountId: account?.id ?? "",
    customerId: account?.customerId ?? "",
    email,
    password,
    accessToken,
    refreshToken,
  };
}

/** Creates an API key with these scopes. @returns its secret */
export async function createApiKey(admin: SignedInAccount, ...scopes: Scope[]): Promise<string> {
  const { secret } = await admin.identity.createApiKey({ apiKey: { serviceAccount: "warehouse", scopes } });
  return secret;
}
