import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  type ListProductsResponse,
  ListProductsResponseSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  createResponseEncoder,
  type Encoding,
  type ResponseEncoder,
} from "../../../../src/rpc/fast-path/response-encoder.ts";
import { createJsonOptions } from "../../../../src/rpc/protocol/json-options.ts";
import { measureLiveBytes } from "../../../support/live-memory.ts";

const encodings = ["envelope", "json", "proto"] as const satisfies readonly Encoding[];

function page(): ListProductsResponse {
  const products = Array.from({ length: 20 }, () => ({
    id: randomUUID(),
    name: "Steel bottle",
    brand: "Acme",
  }));
  return create(ListProductsResponseSchema, { products });
}

const encodeShared = async (
  encode: ResponseEncoder,
  message: ListProductsResponse,
  encoding: Encoding,
  gzip = false,
) => encode(ListProductsResponseSchema, message, encoding, { gzip, isShared: true });

test("a shared message is encoded once in each encoding", async () => {
  const encode = createResponseEncoder(2 ** 20, createJsonOptions([]));
  const message = page();
  const buffers = new Set<Buffer>();
  for (const encoding of encodings) {
    for (const gzip of [false, true]) {
      const { bytes } = await encodeShared(encode, message, encoding, gzip);
      expect((await encodeShared(encode, message, encoding, gzip)).bytes).toBe(bytes);
      buffers.add(bytes);
    }
  }
  expect(buffers.size).toBe(6);
});

test("a message for one caller is not cached", async () => {
  const encode = createResponseEncoder(2 ** 20, createJsonOptions([]));
  const message = page();
  const options = { gzip: false, isShared: false };
  const first = await encode(ListProductsResponseSchema, message, "proto", options);
  expect((await encode(ListProductsResponseSchema, message, "proto", options)).bytes).not.toBe(first.bytes);
});

test("cached encodings stay within their memory, and the most recently used are kept", async () => {
  const maxBytes = 2 ** 20;
  const encode = createResponseEncoder(maxBytes, createJsonOptions([]));
  const used = page();
  const { bytes } = await encodeShared(encode, used, "envelope");
  const others = Array.from({ length: 1_000 }, page);
  await measureLiveBytes();
  const before = process.memoryUsage().arrayBuffers;
  for (const message of others) {
    for (const encoding of encodings) await encodeShared(encode, message, encoding);
    await encodeShared(encode, used, "envelope");
  }
  await measureLiveBytes();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1.5 * maxBytes);
  expect((await encodeShared(encode, used, "envelope")).bytes).toBe(bytes);
  // The messages themselves belong to the caller.
  const [oldest] = others;
  if (oldest === undefined) throw new Error("there is no message");
  const again = await encodeShared(encode, oldest, "proto");
  expect(fromBinary(ListProductsResponseSchema, again.bytes)).toEqual(oldest);
});

test("a message that is larger than the cache is encoded each time", async () => {
  const encode = createResponseEncoder(100, createJsonOptions([]));
  const message = page();
  const first = await encodeShared(encode, message, "proto");
  expect((await encodeShared(encode, message, "proto")).bytes).not.toBe(first.bytes);
  expect(Buffer.from(toBinary(ListProductsResponseSchema, message))).toEqual(first.bytes);
});
