import { type DescMessage, getOption } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type FieldRules, field as fieldRules } from "../../../../gen/buf/validate/validate_pb.ts";
import { PATTERN_DESCRIPTIONS } from "../../../../src/rpc/validation/pattern-violations.ts";
import { readServices } from "../../../support/contract/contract.ts";

const messages = new Set<DescMessage>();
const collect = (message: DescMessage): void => {
  if (messages.has(message) || !message.typeName.startsWith("cartwright.")) return;
  messages.add(message);
  for (const field of message.fields) if (field.message !== undefined) collect(field.message);
};
for (const { methods } of await readServices()) for (const { input } of methods) collect(input);

/** Returns the patterns of a value, of the items of a list, or of the keys and values of a map. */
function patternsOf(rules: FieldRules | undefined): string[] {
  const type = rules?.type;
  if (type?.case === "string") return type.value.pattern === "" ? [] : [type.value.pattern];
  if (type?.case === "repeated") return patternsOf(type.value.items);
  return type?.case === "map" ? [...patternsOf(type.value.keys), ...patternsOf(type.value.values)] : [];
}

test("each pattern of the requests, and no other one, is described in words", () => {
  const patterns = [...messages].flatMap(({ fields }) =>
    fields.flatMap((field) => patternsOf(getOption(field, fieldRules))),
  );
  expect(patterns.length).toBeGreaterThan(20);
  expect([...new Set(patterns)].sort()).toEqual(Object.keys(PATTERN_DESCRIPTIONS).sort());
  for (const description of Object.values(PATTERN_DESCRIPTIONS)) expect(description).toMatch(/^must /);
});
