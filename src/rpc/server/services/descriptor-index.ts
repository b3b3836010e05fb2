import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "../../../../gen/google/rpc/error_details_pb.ts";

/** A reflection request; both versions have the same shape. */
export type DescriptorQuery =
  | { case: "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType"; value: string }
  | { case: "fileContainingExtension"; value: { containingType: string; extensionNumber: number } }
  | { case: "listServices"; value: string }
  | { case: undefined; value?: undefined };

/** A reflection response; both versions have the same shape. */
export type DescriptorResult =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: Code; errorMessage: string } };

/** The files of services and all that they import, by file name, symbol and extension. */
export class DescriptorIndex {
  readonly #serviceNames: string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();
  readonly #encoded = new Map<DescFile, Uint8Array>();

  constructor(services: readonly DescService[]) {
    this.#serviceNames = services.map((service) => service.typeName).sort();
    for (const service of services) this.#addFile(service.file);
    // No file imports these, but every error can carry them.
    this.#addFile(file_google_rpc_error_details);
  }

  /** Returns the result of a query: files with all their imports, names, or an error. */
  find(query: DescriptorQuery): DescriptorResult {
    switch (query.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: this.#serviceNames.map((name) => ({ name })) },
        };
      case "fileByFilename":
        return this.#fileResult(this.#files.get(query.value), `file ${query.value}`);
      case "fileContainingSymbol":
        return this.#fileResult(this.#symbols.get(withoutDot(query.value)), `symbol ${query.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = query.value;
        const file = this.#extensions.get(withoutDot(containingType))?.get(extensionNumber);
        return this.#fileResult(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        const numbers = this.#extensions.get(withoutDot(query.value));
        if (numbers === undefined) return notFound(`message ${query.value}`);
        const extensionNumber = [...numbers.keys()];
        return {
          case: "allExtensionNumbersResponse",
          value: { baseTypeName: query.value, extensionNumber },
        };
      }
      default:
        return errorResult(Code.InvalidArgument, "The message_request is not set or not supported.");
    }
  }

  #fileResult(file: DescFile | undefined, name: string): DescriptorResult {
    if (file === undefined) return notFound(name);
    const fileDescriptorProto = withImports(file).map((part) => this.#encode(part));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  #encode(file: DescFile): Uint8Array {
    const cached = this.#encoded.get(file);
    if (cached !== undefined) return cached;
    const encoded = toBinary(FileDescriptorProtoSchema, file.proto);
    this.#encoded.set(file, encoded);
    return encoded;
  }

  #addFile(file: DescFile): void {
    for (const part of withImports(file)) {
      if (this.#files.has(part.proto.name)) continue;
      this.#files.set(part.proto.name, part);
      this.#addSymbols(part);
    }
  }

  #addSymbols(file: DescFile): void {
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      switch (type.kind) {
        case "message":
          this.#extensionsOf(type.typeName);
          for (const member of [...type.fields, ...type.oneofs]) {
            this.#symbols.set(`${type.typeName}.${member.name}`, file);
          }
          break;
        case "enum": {
          // The values of an enum are siblings of its name.
          const scope = type.typeName.slice(0, type.typeName.length - type.name.length);
          for (const value of type.values) this.#symbols.set(`${scope}${value.name}`, file);
          break;
        }
        case "extension":
          this.#extensionsOf(type.extendee.typeName).set(type.number, file);
          break;
        case "service":
          for (const method of type.methods) this.#symbols.set(`${type.typeName}.${method.name}`, file);
          break;
      }
    }
  }

  #extensionsOf(typeName: string): Map<number, DescFile> {
    const extensions = this.#extensions.get(typeName) ?? new Map<number, DescFile>();
    this.#extensions.set(typeName, extensions);
    return extensions;
  }
}

/** Returns a file and all that it imports, itself first, each once. */
function withImports(file: DescFile): DescFile[] {
  const files = new Set([file]);
  // Iterating a set includes what is added meanwhile.
  for (const part of files) for (const dependency of part.dependencies) files.add(dependency);
  return [...files];
}

function withoutDot(name: string): string {
  return name.startsWith(".") ? name.slice(1) : name;
}

function notFound(name: string): DescriptorResult {
  return errorResult(Code.NotFound, `Not found: ${name}.`);
}

function errorResult(errorCode: Code, errorMessage: string): DescriptorResult {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
