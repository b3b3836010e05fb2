import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { AppError, type ErrorCode, notFound } from "../../../../src/kernel/errors.ts";
import { transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const key = { case: "sku", value: "SECRET-SKU" } as const;
const method = "cartwright.catalog.v1.CatalogService/GetProduct";

test.each([
  ["gRPC over HTTP/2", "grpc"],
  ["gRPC-Web over HTTP/1.1", "grpc-web"],
  ["Connect JSON", "connect"],
] as const)("a call by %s is one line without its content", async (name, protocol) => {
  const { url, lines } = await startRpcServer();
  await createClient(CatalogService, transports(url)[name]).getProduct({ key });
  expect(lines).toEqual([
    {
      level: "debug",
      message: "Call ended",
      fields: {
        method,
        code: "OK",
        duration_ms: expect.toSatisfy((ms) => ms === Math.round(ms * 10) / 10),
        protocol,
        client_address: "127.0.0.1",
      },
    },
  ]);
  expect(JSON.stringify(lines)).not.toContain("SECRET");
});

test.each([
  ["not_found", "debug", "NOT_FOUND"],
  ["failed_precondition", "debug", "FAILED_PRECONDITION"],
  ["deadline_exceeded", "debug", "DEADLINE_EXCEEDED"],
  ["unavailable", "debug", "UNAVAILABLE"],
  ["internal", "warn", "INTERNAL"],
] as const)("a call that fails with %s is logged at %s", async (code: ErrorCode, level, written) => {
  const { url, lines } = await startRpcServer({
    catalog: {
      getProduct: () => {
        throw code === "not_found" ? notFound("product", "1") : new AppError(code, "No.", { reason: "X" });
      },
    },
  });
  const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
  await expect(client.getProduct({ key })).rejects.toThrow();
  const calls = lines.filter(({ message }) => message === "Call ended");
  expect(calls).toEqual([
    { level, message: "Call ended", fields: expect.objectContaining({ method, code: written }) },
  ]);
});
