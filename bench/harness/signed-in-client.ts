import { randomUUID } from "node:crypto";
import { CONNECTIONS } from "./closed-loop.ts";
import { type GrpcClient, openGrpcClient } from "./grpc-client.ts";
import type { Service } from "./service.ts";

/** Opens a client that sends the access token of a new account. */
export async function openSignedInClient({ url }: Service): Promise<GrpcClient> {
  const response = await fetch(`${url}/cartwright.identity.v1.IdentityService/Register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: `${randomUUID()}@example.com`, name: "Bench", password: randomUUID() }),
  });
  const [, token = ""] = /"accessToken":"([^"]+)"/.exec(await response.text()) ?? [];
  return openGrpcClient(url, CONNECTIONS, { authorization: `Bearer ${token}` });
}
