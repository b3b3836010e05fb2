import { globSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { PaymentState, PaymentStateSchema } from "../../../gen/cartwright/payment/v1/payment_pb.ts";
import * as client from "../../../src/client/client.ts";

/** What two contracts have under one name. */
const RENAMED: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  [PaymentState, "PaymentStatus"],
  [PaymentStateSchema, "PaymentStatusSchema"],
]);

const contracts = globSync("gen/cartwright/*/v1/*_pb.ts").filter((path) => !path.includes("/policy/"));

test.each(contracts)("the client exports the services, messages and enums of %s", async (path) => {
  const contract: object = await import(pathToFileURL(resolve(path)).href);
  const exported = new Map<string, unknown>(Object.entries(client));
  const missing = Object.entries(contract)
    .filter(([name]) => !name.startsWith("file_"))
    .map(([name, value]) => [RENAMED.get(value) ?? name, value] as const)
    .filter(([name, value]) => exported.get(name) !== value)
    .map(([name]) => name);
  expect(missing).toEqual([]);
});
