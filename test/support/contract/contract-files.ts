import { execFileSync } from "node:child_process";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

/** Returns the contracts as buf builds them, with their comments. */
export function buildContracts(): FileDescriptorProto[] {
  const image = execFileSync("node_modules/.bin/buf", ["build", "-o", "-#format=binpb"], {
    maxBuffer: 64 * 2 ** 20,
  });
  return fromBinary(FileDescriptorSetSchema, image).file;
}

/** An element of a contract, and its path in the source code info (descriptor.proto, Location.path). */
interface Element {
  name: string;
  path: number[];
}

/** Returns the leading comment of each message, field, oneof, enum, value, service, method and extension of a file. */
export function commentsOf(file: FileDescriptorProto): Map<string, string> {
  const comments = new Map(
    file.sourceCodeInfo?.location.map(({ path, leadingComments }) => [path.join(), leadingComments.trim()]),
  );
  return new Map(elementsOf(file).map(({ name, path }) => [name, comments.get(path.join()) ?? ""]));
}

function elementsOf(file: FileDescriptorProto): Element[] {
  return [
    ...file.messageType.flatMap((message, index) => messageElements(message, "", [4, index])),
    ...file.enumType.flatMap((type, index) => enumElements(type, "", [5, index])),
    ...file.service.flatMap((service, index) => [
      { name: service.name, path: [6, index] },
      ...service.method.map(({ name }, at) => ({ name: `${service.name}.${name}`, path: [6, index, 2, at] })),
    ]),
    ...file.extension.map(({ name }, index) => ({ name, path: [7, index] })),
  ];
}

function messageElements(message: DescriptorProto, parent: string, path: number[]): Element[] {
  if (message.options?.mapEntry === true) return [];
  const name = `${parent}${message.name}`;
  const isSynthetic = (index: number) =>
    message.field.some(({ oneofIndex, proto3Optional }) => proto3Optional && oneofIndex === index);
  return [
    { name, path },
    ...message.field.map((field, index) => ({ name: `${name}.${field.name}`, path: [...path, 2, index] })),
    ...message.oneofDecl
      .map((oneof, index) => ({ name: `${name}.${oneof.name}`, path: [...path, 8, index], index }))
      .filter(({ index }) => !isSynthetic(index)),
    ...message.nestedType.flatMap((inner, index) => messageElements(inner, `${name}.`, [...path, 3, index])),
    ...message.enumType.flatMap((inner, index) => enumElements(inner, `${name}.`, [...path, 4, index])),
  ];
}

function enumElements(type: EnumDescriptorProto, parent: string, path: number[]): Element[] {
  const name = `${parent}${type.name}`;
  return [
    { name, path },
    ...type.value.map((value, index) => ({ name: `${name}.${value.name}`, path: [...path, 2, index] })),
  ];
}
