import { expect, test } from "vitest";
import { serializeError } from "../../../src/infra/log.ts";

test("of an error is written what it says and why, and nothing that was hung on it", () => {
  const cause = Object.assign(new RangeError("refused"), {
    code: "ECONNREFUSED",
    client: { secretKey: 4711 },
  });
  const error = Object.assign(new Error("The database is away.", { cause }), { password: "hunter2" });
  const fields = serializeError(error);
  expect(fields).toMatchObject({
    type: "Error",
    message: "The database is away.",
    stack: expect.stringContaining("log.test.ts"),
    cause: { type: "RangeError", message: "refused", code: "ECONNREFUSED" },
  });
  expect(JSON.stringify(fields)).not.toMatch(/4711|hunter2/);
});

test("causes without end are told to some depth", () => {
  const error = new Error("around");
  error.cause = error;
  expect(JSON.stringify(serializeError(error)).match(/"message"/g)?.length).toBeLessThan(10);
});
