import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../../../gen/google/rpc/error_details_pb.ts";
import { AppError, type ErrorCode, notFound, staleEtag } from "../../../../src/kernel/errors.ts";
import { post, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;

/** Returns the error that a caller gets when the handler throws. */
async function errorFor(thrown: unknown, name: (typeof transportNames)[number] = "gRPC over HTTP/2") {
  const server = await startRpcServer({
    catalog: {
      getProduct: () => {
        throw thrown;
      },
    },
  });
  const client = createClient(CatalogService, transports(server.url)[name]);
  const error = await client.getProduct({ key: { case: "sku", value: "A" } }).then(
    () => new ConnectError("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
  return { error, ...server };
}

const codes: Record<ErrorCode, Code> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  internal: Code.Internal,
};

test.each(Object.entries(codes))(
  "the error code %s is sent as code %i, with its reason",
  async (code, expected) => {
    const isCode = (code: string): code is ErrorCode => code in codes;
    if (!isCode(code)) throw new Error(code);
    const { error } = await errorFor(
      new AppError(code, "Because.", { reason: "A_REASON", metadata: { a: "1" } }),
    );
    expect(error.code).toBe(expected);
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(info).toMatchObject({ reason: "A_REASON", domain: "cartwright" });
    if (code !== "internal") {
      expect(error.rawMessage).toBe("Because.");
      expect(info?.metadata).toEqual({ a: "1" });
    }
  },
);

describe("error details", () => {
  test("error details list the invalid fields", async () => {
    const fields = [{ field: "a.b", description: "must be c" }];
    const { error } = await errorFor(new AppError("invalid_argument", "No.", { reason: "X", fields }));
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject(fields);
  });

  test("error details list the failed preconditions", async () => {
    const preconditions = [{ type: "STOCK", subject: "products/1", description: "3 left, 5 requested" }];
    const { error } = await errorFor(
      new AppError("failed_precondition", "No.", { reason: "OUT_OF_STOCK", preconditions }),
    );
    expect(error.findDetails(PreconditionFailureSchema)[0]?.violations).toMatchObject(preconditions);
  });

  test("error details name the resource", async () => {
    const { error } = await errorFor(notFound("product", "42"));
    expect(error.findDetails(ResourceInfoSchema)[0]).toMatchObject({
      resourceType: "product",
      resourceName: "42",
      description: expect.stringContaining("42"),
    });
  });

  test("error details carry the current etag", async () => {
    const { error } = await errorFor(staleEtag("product", "42", "v7"));
    expect(error.code).toBe(Code.Aborted);
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ current_etag: "v7" });
  });

  test("error details state when to retry", async () => {
    const details = { reason: "RATE_LIMITED", retryAfterMs: 2_500.2 };
    const { error } = await errorFor(new AppError("resource_exhausted", "Slower.", details));
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({
      seconds: 2n,
      nanos: 501_000_000,
    });
    expect(error.findDetails(QuotaFailureSchema)).toEqual([]);
  });

  test("error details name the exhausted budget", async () => {
    const details = { reason: "RATE_LIMITED", quota: "READ/address" };
    const { error } = await errorFor(new AppError("resource_exhausted", "Slower.", details));
    expect(error.findDetails(QuotaFailureSchema)[0]?.violations).toMatchObject([{ subject: "READ/address" }]);
    expect(error.metadata.has("retry-after")).toBe(false);
  });

  test.each(transportNames)(
    "error details state when to retry in whole seconds, for clients that support HTTP only, by %s",
    async (name) => {
      const retryAfterOf = async (thrown: AppError) =>
        (await errorFor(thrown, name)).error.metadata.get("retry-after");
      const details = { reason: "SIGN_IN_BACKOFF", retryAfterMs: 2_500.2 };
      expect(await retryAfterOf(new AppError("resource_exhausted", "Slower.", details))).toBe("3");
      expect(
        await retryAfterOf(new AppError("unavailable", "Unavailable.", { reason: "DATABASE_AWAY" })),
      ).toBe("1");
      expect(await retryAfterOf(notFound("product", "42"))).toBeNull();
    },
  );

  test("error details state when to retry in the HTTP header Retry-After", async () => {
    const thrown = new AppError("unavailable", "Unavailable.", {
      reason: "DATABASE_AWAY",
      retryAfterMs: 1_000,
    });
    const { url } = await errorFor(thrown);
    const response = await post(url, getProduct, { sku: "A" });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  });

  test("error details state a default delay before a retry of UNAVAILABLE", async () => {
    const { error } = await errorFor(
      new AppError("unavailable", "Unavailable.", { reason: "DATABASE_AWAY" }),
    );
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 1n, nanos: 0 });
  });

  test.each(transportNames)("error details are sent by %s", async (name) => {
    const { error } = await errorFor(notFound("product", "4€2"), name);
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toContain("4€2");
    expect(error.findDetails(ResourceInfoSchema)[0]?.resourceName).toBe("4€2");
  });

  test("error details are readable in JSON", async () => {
    const { url } = await errorFor(notFound("product", "42"));
    const response = await post(url, getProduct, { sku: "A" });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      code: "not_found",
      details: [{ debug: { reason: "PRODUCT_NOT_FOUND" } }, { debug: { resourceName: "42" } }],
    });
  });
});

describe("an unexpected error", () => {
  test.each([
    ["an Error", new Error("password=hunter2 at 10.0.0.5")],
    ["a string", "hunter2"],
    [
      "an internal AppError",
      new AppError("internal", "hunter2", { reason: "BROKEN", metadata: { a: "hunter2" } }),
    ],
  ])("an unexpected error is logged under a trace id, and only the id is sent: %s", async (_, thrown) => {
    const { error, lines, url } = await errorFor(thrown);
    expect(error.code).toBe(Code.Internal);
    const id = error.findDetails(ErrorInfoSchema)[0]?.metadata.trace_id ?? "";
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(error.rawMessage).toBe(`Internal error. The cause is logged under trace ID ${id}.`);
    const line = lines.find(({ level }) => level === "error");
    expect(line?.fields).toMatchObject({
      trace_id: id,
      err: thrown,
      method: "cartwright.catalog.v1.CatalogService/GetProduct",
    });
    expect(await (await post(url, getProduct, { sku: "A" })).text()).not.toContain("hunter2");
  });
});

test("every code of Connect has a reason of its own", async () => {
  const numbers = Object.values(Code).filter((code) => typeof code === "number");
  const reasons = new Map<string, Code>();
  for (const code of numbers) {
    const { error } = await errorFor(new ConnectError("No.", code));
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(info?.reason).toMatch(/^[A-Z_]{5,}$/);
    reasons.set(info?.reason ?? "", code);
  }
  expect(reasons.size).toBe(16);
  expect(reasons.get("INTERNAL")).toBe(Code.Internal);
  expect(reasons.get("NOT_FOUND")).toBe(Code.NotFound);
});

describe("a cause", () => {
  test("a cause is logged as its message, without stack and details, and is not sent", async () => {
    const cause = Object.assign(new Error("could not connect to 10.0.0.5:5432"), {
      detail: "Key (email)=(ada@example.org) already exists.",
    });
    const { error, lines, url } = await errorFor(
      new AppError("aborted", "Not for ada@example.org.", { reason: "CONTENTION" }, cause),
    );
    expect(error.rawMessage).toBe("Not for ada@example.org.");
    expect(lines.filter(({ level }) => level === "warn")).toEqual([
      {
        level: "warn",
        message: expect.any(String),
        fields: {
          method: `${CatalogService.typeName}/GetProduct`,
          reason: "CONTENTION",
          cause: cause.message,
        },
      },
    ]);
    expect(JSON.stringify(lines)).not.toContain("ada@");
    expect(await (await post(url, getProduct, { sku: "A" })).text()).not.toContain("10.0.0.5");
  });

  test("a cause without a message is logged by its code", async () => {
    const cause = Object.assign(new AggregateError([]), { code: "ECONNREFUSED" });
    const { lines } = await errorFor(new AppError("unavailable", "No.", { reason: "DATABASE_AWAY" }, cause));
    expect(lines.find(({ level }) => level === "warn")?.fields.cause).toBe("ECONNREFUSED");
  });
});

test("a failure of many calls is logged once, and its line once more with their number", async () => {
  const { url, lines } = await startRpcServer({
    catalog: {
      getProduct: () => {
        throw new AppError("unavailable", "Unavailable.", { reason: "DATABASE_AWAY" }, new Error("refused"));
      },
    },
  });
  const warnings = () => lines.filter(({ level }) => level === "warn").map(({ fields }) => fields);
  await Promise.all(Array.from({ length: 30 }, () => post(url, getProduct, { sku: "A" })));
  await expect.poll(() => warnings().length).toBeGreaterThan(1);
  const [first, ...others] = warnings();
  expect(first).toMatchObject({ reason: "DATABASE_AWAY", cause: "refused" });
  await expect
    .poll(() => warnings().reduce((sum, { suppressed }) => sum + Number(suppressed ?? 1), 0))
    .toBe(30);
  expect(others[0]).toMatchObject({ reason: "DATABASE_AWAY", cause: "refused" });
});

test("a long message is cut, so that trailers stay small", async () => {
  const { error } = await errorFor(
    new AppError("invalid_argument", `${"😀".repeat(5_000)}`, { reason: "X" }),
  );
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.rawMessage.length).toBeLessThan(1_010);
});
