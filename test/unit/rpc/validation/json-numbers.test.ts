import { create, createFileRegistry, type DescMessage, fromJsonString, toJson } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { BadRequestSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { normalizeJsonNumbers } from "../../../../src/rpc/validation/json-numbers.ts";

const OPTIONAL = FieldDescriptorProto_Label.OPTIONAL;
const REPEATED = FieldDescriptorProto_Label.REPEATED;

const field = (name: string, number: number, type: Type, label = OPTIONAL, typeName = "") => ({
  name,
  jsonName: name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
  number,
  type,
  label,
  typeName,
});
const entry = (name: string, key: Type, value: Type) => ({
  name,
  field: [field("key", 1, key), field("value", 2, value)],
  options: { mapEntry: true },
});

/** A message with numbers in all places that a message can have them. */
const schema = ((): DescMessage => {
  const file = create(FileDescriptorProtoSchema, {
    name: "test.proto",
    package: "test",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    messageType: [
      {
        name: "Numbers",
        field: [
          field("signed_long", 1, Type.INT64),
          field("unsigned_long", 2, Type.UINT64),
          field("fixed_long", 3, Type.SFIXED64),
          field("signed", 4, Type.INT32),
          field("unsigned", 5, Type.UINT32),
          field("double", 6, Type.DOUBLE),
          field("text", 7, Type.STRING),
          field("longs", 8, Type.INT64, REPEATED),
          field("by_name", 9, Type.MESSAGE, REPEATED, ".test.Numbers.ByNameEntry"),
          field("by_number", 10, Type.MESSAGE, REPEATED, ".test.Numbers.ByNumberEntry"),
          field("wrapped", 11, Type.MESSAGE, OPTIONAL, ".google.protobuf.Int64Value"),
          field("child", 12, Type.MESSAGE, OPTIONAL, ".test.Numbers"),
          field("children", 13, Type.MESSAGE, REPEATED, ".test.Numbers"),
        ],
        nestedType: [
          entry("ByNameEntry", Type.STRING, Type.INT64),
          entry("ByNumberEntry", Type.INT64, Type.STRING),
        ],
      },
      { name: "Texts", field: [field("text", 1, Type.STRING)] },
    ],
  });
  const registry = createFileRegistry(file, () => file_google_protobuf_wrappers);
  const found = registry.getMessage("test.Numbers");
  if (found === undefined) throw new Error("test.Numbers is missing");
  return found;
})();

/** Returns the JSON of a message after it was read. */
const read = (json: string) => toJson(schema, fromJsonString(schema, normalizeJsonNumbers(schema, json)));

/** Returns the field that a text is rejected for. */
function rejectedField(json: string): string | undefined {
  try {
    normalizeJsonNumbers(schema, json);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const [details] = error.findDetails(BadRequestSchema);
    return details?.fieldViolations[0]?.field;
  }
}

const notations = [
  "",
  "0x10",
  "0X1f",
  "0b11",
  "0o7",
  "+3",
  " 7 ",
  " 7",
  "7 ",
  "\u00a07",
  "\t7",
  " ",
  "1e",
  "5.",
  ".5",
];

describe.each(["signedLong", "unsignedLong", "fixedLong", "signed", "unsigned", "double"])("%s", (name) => {
  const fieldName = name.replace(/L/, "_l");

  test.each(notations)("%j is rejected", (text) => {
    expect(rejectedField(JSON.stringify({ [name]: text }))).toBe(fieldName);
    expect(() => read(JSON.stringify({ [name]: text }))).toThrow();
  });

  test.each([
    ["42", 42],
    ["0", 0],
    ["1e2", 100],
    ["1.50e2", 150],
    ["100e-2", 1],
    ["3.0", 3],
  ])("%j is %d", (text, value) => {
    const json = { [name]: text };
    expect(read(JSON.stringify(json))).toEqual(
      value === 0 ? {} : { [name]: /Long/.test(name) ? String(value) : value },
    );
  });
});

test.each([
  ['{"signed_long": "0x10"}', "signed_long"],
  ['{"longs": ["1", "0x10"]}', "longs[1]"],
  ['{"byName": {"a": "1", "b": "+3"}}', 'by_name["b"]'],
  ['{"byNumber": {"0x10": "a"}}', 'by_number["0x10"]'],
  ['{"wrapped": "0b11"}', "wrapped"],
  ['{"child": {"child": {"longs": ["0o7"]}}}', "child.child.longs[0]"],
  ['{"children": [{}, {"signedLong": "+3"}]}', "children[1].signed_long"],
  ['{"signedLong": "\\u0030x10"}', "signed_long"],
  ['{"signedLong": "0\\u007810"}', "signed_long"],
  ['{"signedLong": "7\\t"}', "signed_long"],
  ['{"signedLong": "1.5"}', "signed_long"],
  ['{"signedLong": "1e99"}', "signed_long"],
  ['{"signedLong":\n\t"0x10" }', "signed_long"],
])("%s is rejected at its path", (json, path) => {
  expect(rejectedField(json)).toBe(path);
});

test("64-bit integers keep all digits", () => {
  const json = {
    signedLong: "-9223372036854775808",
    unsignedLong: "18446744073709551615",
    longs: ["9223372036854775807"],
  };
  expect(read(JSON.stringify(json))).toEqual(json);
  expect(read('{"signedLong": "-9.223372036854775808e18"}')).toEqual({ signedLong: "-9223372036854775808" });
  expect(() => read('{"signedLong": "9223372036854775808.0"}')).toThrow();
});

test.each(["NaN", "Infinity", "-Infinity"])("a double may be %s", (text) => {
  expect(read(JSON.stringify({ double: text, signedLong: "1e0" }))).toEqual({
    double: text,
    signedLong: "1",
  });
});

test("texts that look like numbers stay as they are", () => {
  const texts = ["0x10", " 7 ", "+3", "1e2", "a\\u0030"];
  for (const text of texts) expect(read(JSON.stringify({ text }))).toEqual({ text });
});

test("a message that contains itself is checked as deep as it can be read", () => {
  const nested = (depth: number): string =>
    depth === 0 ? '{"longs":["0x10"]}' : `{"child":${nested(depth - 1)}}`;
  expect(rejectedField(nested(90))).toMatch(/^child\.child/);
  expect(() => read(nested(5_000))).toThrow(/recursion depth/);
});

test.each(["", "{", "[]", "null", '"0x10"', '{"signedLong": "0x10"', '{"child": "0x10", "longs": "0x10"}'])(
  "%j is left to the parser of messages",
  (json) => {
    expect(normalizeJsonNumbers(schema, json)).toBe(json);
  },
);
