import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { type ImportSource, sendImport } from "../../../../src/cli/import/send-import.ts";

const job = {
  requestId: "01941f29-7c00-7003-8000-000000000001",
  mode: ImportMode.INCREMENTAL,
  maxDeletes: undefined,
  async *rows() {},
  onSent: () => {},
  onRetry: () => {},
} satisfies Partial<ImportSource>;

/** Creates a catalogue client whose first imports fail with these errors, and the later ones succeed. */
function createCatalog(...failures: ConnectError[]) {
  const transport = createRouterTransport((router) => {
    router.service(CatalogService, {
      async importProducts(requests) {
        for await (const _ of requests);
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        return {};
      },
    });
  });
  return createClient(CatalogService, transport);
}

/** Sends an import without rows to a shop that fails once. @returns the number of retries */
async function countRetries(failure: ConnectError): Promise<number> {
  let retries = 0;
  const onRetry = () => {
    retries += 1;
  };
  await sendImport({ ...job, catalog: createCatalog(failure), onRetry });
  return retries;
}

test.each([Code.Unknown, Code.Internal, Code.Aborted, Code.Unavailable])(
  "an interrupted connection is retried when the transport reports it with code %i",
  async (code) => {
    expect(await countRetries(new ConnectError("read ECONNRESET", code))).toBe(1);
  },
);

test.each([Code.Internal, Code.Unimplemented, Code.PermissionDenied])(
  "an error of the service with a reason is not retried when its code is %i",
  async (code) => {
    const info = { desc: ErrorInfoSchema, value: { reason: "SOME_REASON", domain: "cartwright" } };
    const failure = new ConnectError("no", code, undefined, [info]);
    await expect(countRetries(failure)).rejects.toMatchObject({ code });
  },
);

test("a connection error that the transport throws into the request stream is retried, not reported as an error of the rows", async () => {
  const catalog = createCatalog();
  let calls = 0;
  const response = await sendImport({
    ...job,
    catalog: {
      async importProducts(requests, options) {
        calls += 1;
        if (calls > 1) return catalog.importProducts(requests, options);
        const interrupted = new ConnectError("read ECONNRESET", Code.Aborted);
        const messages = requests[Symbol.asyncIterator]();
        await messages.next();
        await messages.throw?.(interrupted).catch(() => {});
        throw interrupted;
      },
    },
  });
  expect([calls, response.rowCount]).toEqual([2, 0n]);
});

test("an error of reading the rows ends the import and is thrown as it is", async () => {
  const rows = () => ({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new RangeError("line 1 is invalid")) }),
  });
  await expect(sendImport({ ...job, catalog: createCatalog(), rows })).rejects.toThrow("line 1 is invalid");
});
