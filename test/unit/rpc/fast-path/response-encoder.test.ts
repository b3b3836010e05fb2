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

const write = async (
  encode: ResponseEncoder,
  message: ListProductsResponse,
  encoding: Encoding,
  gzip = false,
) => encode(ListProductsResponseSchema, message, encoding, { gzip, isShared: true });

test("what is given more than once is written once, in each form", async () => {
  const encode = createResponseEncoder(2 ** 20);
  const message = page();
  const made = new Set<Buffer>();
  for (const encoding of encodings) {
    for (const gzip of [false, true]) {
      const { bytes } = await write(encode, message, encoding, gzip);
      expect((await write(encode, message, encoding, gzip)).bytes).toBe(bytes);
      made.add(bytes);
    }
  }
  expect(made.size).toBe(6);
});

test("what is given to one caller is not kept", async () => {
  const encode = createResponseEncoder(2 ** 20);
  const message = page();
  const how = { gzip: false, isShared: false };
  const first = await encode(ListProductsResponseSchema, message, "proto", how);
  expect((await encode(ListProductsResponseSchema, message, "proto", how)).bytes).not.toBe(first.bytes);
});

test("kept bytes take as much memory as they may, and what is asked for stays", async () => {
  const maxBytes = 2 ** 20;
  const encode = createResponseEncoder(maxBytes);
  const asked = page();
  const { bytes } = await write(encode, asked, "envelope");
  const others = Array.from({ length: 1_000 }, page);
  await measureLiveBytes();
  const before = process.memoryUsage().arrayBuffers;
  for (const message of others) {
    for (const encoding of encodings) await write(encode, message, encoding);
    await write(encode, asked, "envelope");
  }
  await measureLiveBytes();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1.5 * maxBytes);
  expect((await write(encode, asked, "envelope")).bytes).toBe(bytes);
  // The messages themselves are held by whoever gives them.
  const [gone] = others;
  if (gone === undefined) throw new Error("there are none");
  const again = await write(encode, gone, "proto");
  expect(fromBinary(ListProductsResponseSchema, again.bytes)).toEqual(gone);
});

test("an answer that is larger than all that may be kept is written each time", async () => {
  const encode = createResponseEncoder(100);
  const message = page();
  const first = await write(encode, message, "proto");
  expect((await write(encode, message, "proto")).bytes).not.toBe(first.bytes);
  expect(Buffer.from(toBinary(ListProductsResponseSchema, message))).toEqual(first.bytes);
});
