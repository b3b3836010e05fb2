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

/** The way to products through a process of the shop: a product's price is the number of its last write. */
export interface PriceClient extends Client {
  /** How many reads each tier has answered. */
  tiers: Map<string, number>;
  close(): void;
}

/** @param ids of the products, which are its rows */
export function openPriceClient(url: string, ids: readonly string[]): PriceClient {
  // Reads are many: as bytes over one connection, without the client that would take most of the time.
  const session = connect(url);
  session.on("error", () => {}); // each of its calls tells
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
        const call = session.request(headers);
        let status = 0;
        const chunks: Buffer[] = [];
        call.on("response", (answer) => {
          status = Number(answer[":status"]);
          const tier = String(answer["x-cartwright-cache"]);
          tiers.set(tier, (tiers.get(tier) ?? 0) + 1);
        });
        call.on("data", (chunk: Buffer) => chunks.push(chunk));
        call.on("error", reject);
        call.on("end", () => {
          const body = Buffer.concat(chunks);
          if (status !== 200) reject(new Error(`${status} ${body.toString()}`));
          else resolve(Number(fromBinary(GetProductResponseSchema, body).product?.price?.minorUnits));
        });
        call.end(bodies[row]);
      }),
    async write(row, version) {
      const price = { currencyCode: "EUR", minorUnits: BigInt(version) };
      await updateProduct({ product: { id: ids[row] ?? "", price }, updateMask: { paths: ["price"] } });
    },
    close: () => session.close(),
  };
}

/** The same with cache-aside before it, as it is mostly done. */
export function naively(door: PriceClient, cache: NaiveCache): PriceClient {
  return {
    read: async (row) => Number(await cache.find(String(row), async () => String(await door.read(row)))),
    async write(row, version) {
      await door.write(row, version);
      await cache.invalidate(String(row));
    },
    ...{ close: door.close, tiers: door.tiers },
  };
}
