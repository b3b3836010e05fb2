import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { type ClientOptions, createClient, errorDetails } from "../../../src/client/client.ts";

/** What a script in a page does with the client, once for each way to call. */
const ways: Record<string, Partial<ClientOptions>> = {
  "default, by strangers": {},
  "Connect JSON, signed in": {
    token: async () => "t-1",
    transport: (options) => createConnectTransport({ ...options, useBinaryFormat: false }),
  },
  "gRPC-Web": { transport: createGrpcWebTransport },
};

const [baseUrl = "", productId = ""] = (await (await fetch("/job")).text()).split(" ");

async function shopping(options: Partial<ClientOptions>) {
  const { catalog, orders } = createClient({ baseUrl, retries: 0, timeoutMs: undefined, ...options });
  const requestId = crypto.randomUUID();
  const order = { items: [{ productId, quantity: 1n }] };
  const listed = await catalog.listProducts({ pageSize: 3 }).catch(errorDetails);
  const first = await orders.createOrder({ requestId, order }).catch(errorDetails);
  const second = await orders.createOrder({ requestId, order }).catch(errorDetails);
  const tooMany = { items: [{ productId, quantity: 9_999n }] };
  const refused = await orders.createOrder({ order: tooMany }).catch(errorDetails);
  return { listed, first, second, refused };
}

const results: Record<string, unknown> = {};
for (const [name, options] of Object.entries(ways)) {
  results[name] = await shopping(options).catch(String);
}
const asText = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
await fetch("/results", { method: "POST", body: JSON.stringify(results, asText) });
