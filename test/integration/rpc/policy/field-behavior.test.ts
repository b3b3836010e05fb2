import { randomUUID } from "node:crypto";
import { create, type DescMessage, getOption } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { field as fieldRules } from "../../../../gen/buf/validate/validate_pb.ts";
import { FieldBehavior, field_behavior } from "../../../../gen/google/api/field_behavior_pb.ts";
import { hasBehavior, readServices } from "../../../support/contract/contract.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const methods = (await readServices()).flatMap((service) =>
  service.methods.map((method) => ({ name: method.name, method })),
);

/** The request messages and our messages within them, by full name. */
const requestMessages = new Map<string, DescMessage>();
const collectRequest = (message: DescMessage): void => {
  if (requestMessages.has(message.typeName) || !message.typeName.startsWith("cartwright.")) return;
  requestMessages.set(message.typeName, message);
  for (const field of message.fields) if (field.message !== undefined) collectRequest(field.message);
};
for (const { method } of methods) collectRequest(method.input);

const namesWith = (message: DescMessage, behavior: FieldBehavior) =>
  message.fields.filter((field) => hasBehavior(field, behavior)).map(({ name }) => name);

describe("the field behavior of the contracts", () => {
  const validator = createValidator();
  const oneofs = (message: DescMessage) => message.oneofs.map(({ name }) => name);
  /** Returns the direct fields, without oneofs, that validation rejects in an empty message. */
  const rejectedWhenEmpty = (message: DescMessage): string[] => {
    const { violations = [] } = validator.validate(message, create(message));
    const names = violations.map(({ field }) => pathToString(field.slice(0, 1)));
    return [...new Set(names)].filter((name) => !oneofs(message).includes(name)).sort();
  };

  test.each(methods)(
    "$name requires the fields that validation rejects when they are empty",
    ({ method }) => {
      expect(namesWith(method.input, FieldBehavior.REQUIRED).sort()).toEqual(rejectedWhenEmpty(method.input));
    },
  );

  test.each([...requestMessages])(
    "%s requires each field that validation rejects when it is empty",
    (_, message) => {
      const required = namesWith(message, FieldBehavior.REQUIRED);
      expect(required).toEqual(expect.arrayContaining(rejectedWhenEmpty(message)));
      for (const field of message.fields) {
        if (getOption(field, fieldRules).required) expect(required).toContain(field.name);
      }
    },
  );

  test.each([...requestMessages])("%s has no field that contradicts itself", (_, message) => {
    for (const field of message.fields) {
      const behaviors = getOption(field, field_behavior);
      if (behaviors.includes(FieldBehavior.OUTPUT_ONLY)) expect(behaviors, field.name).toHaveLength(1);
      if (behaviors.includes(FieldBehavior.IDENTIFIER)) expect(field.name).toBe("id");
      if (field.name === "create_time") expect(behaviors).toEqual([FieldBehavior.OUTPUT_ONLY]);
    }
  });
});

describe("the server", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop();
  });
  afterAll(() => shop.close());

  const creating = methods.flatMap(({ name, method }) => {
    const resource = method.input.fields.find(({ message }) => message?.typeName.startsWith("cartwright."));
    return /^(Create|Record)/.test(name) && resource?.message
      ? [{ name, method, resource, message: resource.message }]
      : [];
  });

  test.each(creating)(
    "the server rejects an empty resource in $name with the fields that it requires",
    async (creation) => {
      const { method, resource, message } = creation;
      const response = await fetch(`${shop.url}/${method.parent.typeName}/${method.name}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          [resource.jsonName]: {},
          ...(method.input.field.requestId && { requestId: randomUUID() }),
        }),
      });
      const text = await response.text();
      const fields = [...text.matchAll(/"field":"([^"]+)"/g)].map(([, field]) => field);
      expect(fields.sort()).toEqual(
        namesWith(message, FieldBehavior.REQUIRED)
          .map((name) => `${resource.name}.${name}`)
          .sort(),
      );
    },
  );
});
