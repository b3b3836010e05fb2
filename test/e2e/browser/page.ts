import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { type ClientOptions, createClient, errorDetails } from "../../../src/client/client.ts";

/** The script of the page: uses the client once over each transport. */
const transports: Record<string, Partial<ClientOptions>> = {
  "default, anonymous": {},
  "Connect JSON, with a token": {
    token: async () => "t-1",
    transport: (options) => createConnectTransport({ ...options, useBinaryFormat: false }),
  },
  "gRPC-Web": { transport: createGrpcWebTransport },
};

const [baseUrl = "", productId = ""] = (await (await fetch("/input")).text()).split(" ");

async function useClient(options: Partial<ClientOptions>) {
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
for (const [name, options] of Object.entries(transports)) {
  results[name] = await useClient(options).catch(String);
}
const asText = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
await fetch("/results", { method: "POST", body: JSON.stringify(results, asText) });
