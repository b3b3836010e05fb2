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

/** What a caller gets when the handler throws. */
async function receive(thrown: unknown, name: (typeof transportNames)[number] = "gRPC over HTTP/2") {
  const fixture = await startRpcServer({
    catalog: {
      getProduct: () => {
        throw thrown;
      },
    },
  });
  const client = createClient(CatalogService, transports(fixture.url)[name]);
  const error = await client.getProduct({ key: { case: "sku", value: "A" } }).then(
    () => new ConnectError("it did not fail"),
    (error: unknown) => ConnectError.from(error),
  );
  return { error, ...fixture };
}

const codes: Record<ErrorCode, Code> = {
  invalid: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  conflict: Code.Aborted,
  exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  internal: Code.Internal,
};

test.each(Object.entries(codes))("%s is code %i, with its reason", async (code, expected) => {
  const isCode = (code: string): code is ErrorCode => code in codes;
  if (!isCode(code)) throw new Error(code);
  const { error } = await receive(
    new AppError(code, "Because.", { reason: "A_REASON", metadata: { a: "1" } }),
  );
  expect(error.code).toBe(expected);
  const [info] = error.findDetails(ErrorInfoSchema);
  expect(info).toMatchObject({ reason: "A_REASON", domain: "cartwright" });
  if (code !== "internal") {
    expect(error.rawMessage).toBe("Because.");
    expect(info?.metadata).toEqual({ a: "1" });
  }
});

describe("details", () => {
  test("name fields", async () => {
    const fields = [{ field: "a.b", description: "must be c" }];
    const { error } = await receive(new AppError("invalid", "No.", { reason: "X", fields }));
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject(fields);
  });

  test("name what forbids the call", async () => {
    const preconditions = [{ type: "STOCK", subject: "products/1", description: "3 left, 5 asked for" }];
    const { error } = await receive(
      new AppError("failed_precondition", "No.", { reason: "OUT_OF_STOCK", preconditions }),
    );
    expect(error.findDetails(PreconditionFailureSchema)[0]?.violations).toMatchObject(preconditions);
  });

  test("name the resource", async () => {
    const { error } = await receive(notFound("product", "42"));
    expect(error.findDetails(ResourceInfoSchema)[0]).toMatchObject({
      resourceType: "product",
      resourceName: "42",
      description: expect.stringContaining("42"),
    });
  });

  test("carry the current etag", async () => {
    const { error } = await receive(staleEtag("product", "42", "v7"));
    expect(error.code).toBe(Code.Aborted);
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ current_etag: "v7" });
  });

  test("say when to come back", async () => {
    const details = { reason: "RATE_LIMITED", retryAfterMs: 2_500.2 };
    const { error } = await receive(new AppError("exhausted", "Slower.", details));
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({
      seconds: 2n,
      nanos: 501_000_000,
    });
    expect(error.findDetails(QuotaFailureSchema)).toEqual([]);
  });

  test("name the budget that is spent", async () => {
    const details = { reason: "RATE_LIMITED", quota: "READ/address" };
    const { error } = await receive(new AppError("exhausted", "Slower.", details));
    expect(error.findDetails(QuotaFailureSchema)[0]?.violations).toMatchObject([{ subject: "READ/address" }]);
    expect(error.metadata.has("retry-after")).toBe(false);
  });

  test.each(transportNames)("say it in whole seconds to who knows HTTP alone, by %s", async (name) => {
    const told = async (thrown: AppError) => (await receive(thrown, name)).error.metadata.get("retry-after");
    const details = { reason: "SIGN_IN_BACKOFF", retryAfterMs: 2_500.2 };
    expect(await told(new AppError("exhausted", "Slower.", details))).toBe("3");
    expect(await told(new AppError("unavailable", "Away.", { reason: "DATABASE_AWAY" }))).toBe("1");
    expect(await told(notFound("product", "42"))).toBeNull();
  });

  test("say it in a header of HTTP", async () => {
    const thrown = new AppError("unavailable", "Away.", { reason: "DATABASE_AWAY", retryAfterMs: 1_000 });
    const { url } = await receive(thrown);
    const answer = await post(url, getProduct, { sku: "A" });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  });

  test("say when to come back to what is away, even if nobody knows", async () => {
    const { error } = await receive(new AppError("unavailable", "Away.", { reason: "DATABASE_AWAY" }));
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 1n, nanos: 0 });
  });

  test.each(transportNames)("come by %s", async (name) => {
    const { error } = await receive(notFound("product", "4€2"), name);
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toContain("4€2");
    expect(error.findDetails(ResourceInfoSchema)[0]?.resourceName).toBe("4€2");
  });

  test("are readable in JSON", async () => {
    const { url } = await receive(notFound("product", "42"));
    const answer = await post(url, getProduct, { sku: "A" });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({
      code: "not_found",
      details: [{ debug: { reason: "PRODUCT_NOT_FOUND" } }, { debug: { resourceName: "42" } }],
    });
  });
});

describe("what nobody expected", () => {
  test.each([
    ["an Error", new Error("password=hunter2 at 10.0.0.5")],
    ["no Error at all", "hunter2"],
    [
      "an internal AppError",
      new AppError("internal", "hunter2", { reason: "BROKEN", metadata: { a: "hunter2" } }),
    ],
  ])("is logged under an id, and only the id is sent: %s", async (_, thrown) => {
    const { error, lines, url } = await receive(thrown);
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

test("every code that Connect may raise has a reason of its own", async () => {
  const numbers = Object.values(Code).filter((code) => typeof code === "number");
  const reasons = new Map<string, Code>();
  for (const code of numbers) {
    const { error } = await receive(new ConnectError("No.", code));
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(info?.reason).toMatch(/^[A-Z_]{5,}$/);
    reasons.set(info?.reason ?? "", code);
  }
  expect(reasons.size).toBe(16);
  expect(reasons.get("INTERNAL")).toBe(Code.Internal);
  expect(reasons.get("NOT_FOUND")).toBe(Code.NotFound);
});

describe("a cause", () => {
  test("is logged as its sentence, without stack and detail, and is not sent", async () => {
    const cause = Object.assign(new Error("could not connect to 10.0.0.5:5432"), {
      detail: "Key (email)=(ada@example.org) already exists.",
    });
    const { error, lines, url } = await receive(
      new AppError("conflict", "Not for ada@example.org.", { reason: "CONTENTION" }, cause),
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

  test("without a sentence is logged by its code", async () => {
    const cause = Object.assign(new AggregateError([]), { code: "ECONNREFUSED" });
    const { lines } = await receive(new AppError("unavailable", "No.", { reason: "DATABASE_AWAY" }, cause));
    expect(lines.find(({ level }) => level === "warn")?.fields.cause).toBe("ECONNREFUSED");
  });
});

// On a machine that stands still for a moment it takes longer.
test("what fails thousands of times is written once a second for each reason, with how many", {
  retry: 2,
}, async () => {
  const { url, lines } = await startRpcServer({
    catalog: {
      getProduct: ({ key }) => {
        const cause = key.value === "BUSY" ? undefined : new Error("refused");
        throw new AppError("unavailable", "Away.", { reason: `DATABASE_${key.value}` }, cause);
      },
    },
  });
  const fail = (sku: string, times: number) =>
    Promise.all(Array.from({ length: times }, () => post(url, getProduct, { sku })));
  const warnings = () => lines.filter(({ level }) => level !== "debug").map(({ fields }) => fields);
  await fail("AWAY", 30);
  await fail("BUSY", 5);
  expect(warnings()).toEqual([
    expect.objectContaining({ reason: "DATABASE_AWAY", cause: "refused" }),
    expect.objectContaining({ reason: "DATABASE_BUSY" }),
  ]);
  await expect.poll(() => warnings().length, { timeout: 2_000 }).toBe(4);
  expect(warnings().slice(2)).toEqual([
    expect.objectContaining({ reason: "DATABASE_AWAY", cause: "refused", suppressed: 29 }),
    expect.objectContaining({ reason: "DATABASE_BUSY", suppressed: 4 }),
  ]);
  // The second of these lines counts too.
  await fail("AWAY", 3);
  expect(warnings()).toHaveLength(4);
  await expect.poll(() => warnings().length, { timeout: 2_000 }).toBe(5);
  expect(warnings()[4]).toMatchObject({ suppressed: 3 });
});

test("a long sentence is cut, so that trailers stay small", async () => {
  const { error } = await receive(new AppError("invalid", `${"😀".repeat(5_000)}`, { reason: "X" }));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.rawMessage.length).toBeLessThan(1_010);
});
