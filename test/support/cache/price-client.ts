import { connect } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  CatalogService,
  GetProductRequestSchema,
  GetProductResponseSchema,
} from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { Client } from "./freshness.ts";
import type { NaiveCache } from "./naive-cache.ts";

/** A client of the prices of products in one replica. A price is the number of its last write. */
export interface PriceClient extends Client {
  /** Number of reads by the cache tier that returned the value. */
  tiers: Map<string, number>;
  close(): void;
}

/**
 * Opens a client.
 * @param ids ids of the products, which are its rows
 */
export function openPriceClient(url: string, ids: readonly string[]): PriceClient {
  // Reads are sent as bytes over one connection: Connect's client would take most of the time.
  const session = connect(url);
  session.on("error", () => {}); // Each of its calls reports the error.
  const path = "/cartwright.catalog.v1.CatalogService/GetProduct";
  const headers = { ":method": "POST", ":path": path, "content-type": "application/proto" };
  const bodies = ids.map((value) =>
    toBinary(GetProductRequestSchema, create(GetProductRequestSchema, { key: { case: "id", value } })),
  );
  const { updateProduct } = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  const tiers = new Map<string, number>();
  return {
    tiers,
    read: (row) =>
      new Promise((resolve, reject) => {
        const stream = session.request(headers);
        let status = 0;
        const chunks: Buffer[] = [];
        stream.on("response", (response) => {
          status = Number(response[":status"]);
          const tier = String(response["x-cartwright-cache"]);
          tiers.set(tier, (tiers.get(tier) ?? 0) + 1);
        });
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("error", reject);
        stream.on("end", () => {
          const body = Buffer.concat(chunks);
          if (status !== 200) reject(new Error(`${status} ${body.toString()}`));
          else resolve(Number(fromBinary(GetProductResponseSchema, body).product?.price?.minorUnits));
        });
        stream.end(bodies[row]);
      }),
    async write(row, version) {
      const price = { currencyCode: "EUR", minorUnits: BigInt(version) };
      await updateProduct({ product: { id: ids[row] ?? "", price }, updateMask: { paths: ["price"] } });
    },
    close: () => session.close(),
  };
}

/** Returns a client that reads through a plain cache-aside. */
export function withNaiveCache(client: Client, cache: NaiveCache): Client {
  return {
    read: async (row) =>
      Number(await cache.getOrLoad(String(row), async () => String(await client.read(row)))),
    async write(row, version) {
      await client.write(row, version);
      await cache.invalidate(String(row));
    },
  };
}
