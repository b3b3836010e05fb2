import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { buildContracts, commentsOf } from "../../../support/contract/contract-files.ts";
import { findReplacedWordsInContract } from "../../../support/docs/word-list.ts";

const files = buildContracts().filter(({ name }) => !name.startsWith("google/protobuf/"));
const ours = files.filter(({ name }) => name.startsWith("cartwright/"));
const vendored = files.filter((file) => !ours.includes(file));
const named = (list: readonly FileDescriptorProto[]) => list.map((file) => ({ name: file.name, file }));

const MIN_WORDS = 4;
/** Beginnings of a comment that say nothing about the kind of the element. */
const VAGUE_BEGINNING = /^(what|how|why|who|which|where|when)\b/i;

/** Returns what is wrong with the comments of a file, by element. */
function commentErrors(file: FileDescriptorProto): Record<string, string> {
  const errors: Record<string, string> = {};
  for (const [element, comment] of commentsOf(file)) {
    const [replaced] = findReplacedWordsInContract(comment);
    const forbidden = replaced?.word ?? VAGUE_BEGINNING.exec(comment)?.[0];
    if (comment.split(/\s+/).length < MIN_WORDS) errors[element] = `is too short: ${comment}`;
    else if (forbidden !== undefined) errors[element] = `has the word ${forbidden}`;
  }
  return errors;
}

describe("comments", () => {
  test.each(named(ours))("comments of $name describe each element in standard terms", ({ file }) => {
    expect(commentsOf(file).size).toBeGreaterThan(0);
    expect(commentErrors(file)).toEqual({});
  });

  test("the check finds comments that are missing, too short or in words of our own", () => {
    const [file] = ours.filter(({ name }) => name.endsWith("/money.proto"));
    if (file === undefined) throw new Error("there is no money.proto");
    const altered = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file));
    const comment = (...path: number[]) => {
      const location = altered.sourceCodeInfo?.location.find((other) => other.path.join() === path.join());
      if (location === undefined) throw new Error(`nothing is at ${path}`);
      return location;
    };
    comment(4, 0).leadingComments = "";
    comment(4, 0, 2, 0).leadingComments = " The currency code.\n";
    comment(4, 0, 2, 1).leadingComments = " Amount that nobody may see.\n";
    expect(commentErrors(altered)).toEqual({
      Money: "is too short: ",
      "Money.currency_code": "is too short: The currency code.",
      "Money.minor_units": "has the word nobody",
    });
  });
});

/** Returns the words of a name in snake case as PascalCase. */
const pascalCase = (name: string) => name.replace(/(?:^|_)(\w)/g, (_, letter) => letter.toUpperCase());

describe("packages of generated code", () => {
  test.each(named(ours))(
    "packages of generated code are declared in $name for all languages",
    ({ name, file }) => {
      const [, noun = "", version = "", base = ""] =
        /^cartwright\/(\w+)\/(v\d+)\/(\w+)\.proto$/.exec(name) ?? [];
      const names = [pascalCase(noun), version.toUpperCase()];
      expect(file.options).toMatchObject({
        goPackage: `example.com/cartwright/gen/go/cartwright/${noun}/${version};${noun}${version}`,
        javaPackage: `com.cartwright.${noun}.${version}`,
        javaMultipleFiles: true,
        javaOuterClassname: `${pascalCase(base)}Proto`,
        csharpNamespace: ["Cartwright", ...names].join("."),
        phpNamespace: ["Cartwright", ...names].join("\\"),
        rubyPackage: ["Cartwright", ...names].join("::"),
      });
    },
  );

  test("the packages of generated code of vendored files are those of their upstream projects", () => {
    const packages = vendored.map(({ name, options }) => [name, options?.goPackage, options?.javaPackage]);
    expect(packages.sort()).toEqual([
      [
        "buf/validate/validate.proto",
        "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate",
        "build.buf.validate",
      ],
      [
        "google/api/field_behavior.proto",
        "google.golang.org/genproto/googleapis/api/annotations;annotations",
        "com.google.api",
      ],
      [
        "google/rpc/error_details.proto",
        "google.golang.org/genproto/googleapis/rpc/errdetails;errdetails",
        "com.google.rpc",
      ],
      ["grpc/health/v1/health.proto", "google.golang.org/grpc/health/grpc_health_v1", "io.grpc.health.v1"],
      [
        "grpc/reflection/v1/reflection.proto",
        "google.golang.org/grpc/reflection/grpc_reflection_v1",
        "io.grpc.reflection.v1",
      ],
      [
        "grpc/reflection/v1alpha/reflection.proto",
        "google.golang.org/grpc/reflection/grpc_reflection_v1alpha",
        "io.grpc.reflection.v1alpha",
      ],
    ]);
    expect(vendored.every(({ options }) => options?.javaMultipleFiles)).toBe(true);
  });
});
