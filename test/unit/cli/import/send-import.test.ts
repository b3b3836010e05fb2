import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { sendImport } from "../../../../src/cli/import/send-import.ts";

/** An import without rows, to a shop that fails with this once. @returns how often the import was begun again */
async function breaksOf(failure: ConnectError): Promise<number> {
  let [calls, breaks] = [0, 0];
  const transport = createRouterTransport((router) => {
    router.service(CatalogService, {
      async importProducts(requests) {
        for await (const _ of requests);
        calls += 1;
        if (calls === 1) throw failure;
        return {};
      },
    });
  });
  await sendImport({
    catalog: createClient(CatalogService, transport),
    requestId: "01941f29-7c00-7003-8000-000000000001",
    mode: ImportMode.INCREMENTAL,
    async *rows() {},
    onSent: () => {},
    onBreak: () => {
      breaks += 1;
    },
  });
  return breaks;
}

test.each([Code.Unknown, Code.Internal, Code.Aborted, Code.Unavailable])(
  "a connection that breaks is made again, whatever the transport calls it (%i)",
  async (code) => {
    expect(await breaksOf(new ConnectError("read ECONNRESET", code))).toBe(1);
  },
);

test.each([Code.Internal, Code.Unimplemented, Code.PermissionDenied])(
  "what the shop says is believed (%i)",
  async (code) => {
    const info = { desc: ErrorInfoSchema, value: { reason: "SAID", domain: "cartwright" } };
    await expect(breaksOf(new ConnectError("no", code, undefined, [info]))).rejects.toMatchObject({ code });
  },
);

test("a break that a transport throws into what it sends is no fault of the rows", async () => {
  const transport = createRouterTransport((router) => {
    router.service(CatalogService, { importProducts: async () => ({}) });
  });
  const shop = createClient(CatalogService, transport);
  let calls = 0;
  const answer = await sendImport({
    catalog: {
      ...shop,
      async importProducts(requests, options) {
        calls += 1;
        if (calls > 1) return shop.importProducts(requests, options);
        const broken = new ConnectError("read ECONNRESET", Code.Aborted);
        const sent = requests[Symbol.asyncIterator]();
        await sent.next();
        await sent.throw?.(broken).catch(() => {});
        throw broken;
      },
    },
    requestId: "01941f29-7c00-7003-8000-000000000001",
    mode: ImportMode.INCREMENTAL,
    async *rows() {},
    onSent: () => {},
    onBreak: () => {},
  });
  expect([calls, answer.rowCount]).toEqual([2, 0n]);
});

test("rows that cannot be read end the import with the reason why", async () => {
  const transport = createRouterTransport((router) => {
    router.service(CatalogService, {
      async importProducts(requests) {
        for await (const _ of requests);
        return {};
      },
    });
  });
  const sent = sendImport({
    catalog: createClient(CatalogService, transport),
    requestId: "01941f29-7c00-7003-8000-000000000001",
    mode: ImportMode.INCREMENTAL,
    rows: () => ({
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new RangeError("line 1 is no row")) }),
    }),
    onSent: () => {},
    onBreak: () => {},
  });
  await expect(sent).rejects.toThrow("line 1 is no row");
});
